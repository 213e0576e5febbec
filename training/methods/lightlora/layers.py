"""LightLoRA: low-rank residuals on frozen linears, factors predicted per sample (Video2LoRA, eq. 2-3)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.errors import BadMethodSettings


class LightLoRALinear(nn.Module):
    """A frozen linear with a low-rank residual predicted per sample (Video2LoRA, eq. 2-3).

    y = W x + s · up (down x),  down = A_pred A_aux  [B, r, in],  up = B_aux B_pred  [B, out, r]

    `down_aux` (A_aux, [a, in]) and `up_aux` (B_aux, [out, b]) train; A_pred [B, r, a] and B_pred [B, b, r]
    are bound before a forward and stay bound until the next binding: activation checkpointing runs this
    forward again inside the backward pass and must find the same factors.
    """

    def __init__(self, base: nn.Linear, down_aux: nn.Parameter, up_aux: nn.Parameter, scale: float) -> None:
        super().__init__()
        self.base = base
        self.down_aux = down_aux
        self.up_aux = up_aux
        self.scale = scale
        self.down_pred: Tensor | None = None
        self.up_pred: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, in] → [B, N, out]; predictions of one sample serve a batch of any size."""
        y = self.base(x)
        if self.down_pred is None or self.up_pred is None:
            return y
        down, up = self.factors(self.down_pred, self.up_pred)
        down, up = (factor.to(x.dtype).transpose(1, 2).expand(len(x), -1, -1) for factor in (down, up))
        # One pass over y: the residual [B, N, out] is never held beside it.
        return torch.baddbmm(y, x @ down, up, alpha=self.scale)

    def factors(self, down_pred: Tensor, up_pred: Tensor) -> tuple[Tensor, Tensor]:
        """down [B, r, in] and up [B, out, r] of [B, r, a] and [B, b, r], in the weights' dtype."""
        return down_pred.to(self.down_aux.dtype) @ self.down_aux, self.up_aux @ up_pred.to(self.up_aux.dtype)


class LightLoRA:
    """The adapted linears of one transformer, in order, and what is bound to them.

    Not a module: its layers are registered where they stand in the transformer. Building it replaces the
    target linears in place, block by block in the order of `targets`; the l-th prediction belongs to the l-th
    layer.

    Args:
        transformer: the module whose blocks are adapted.
        targets: paths of the linears inside a block ("attn1.to_q", "attn1.to_out.0").
        down_size, up_size: a and b, the widths of the auxiliary matrices.
        rank, scale: r and s.
        share_qkv_down: one A_aux for the targets of a block named to_q, to_k and to_v, which read the same
            input.
        blocks_name: path of the list of blocks in the transformer.

    Raises:
        BadMethodSettings: a target that is no linear of the blocks or that is adapted already, or a or b
            larger than the linear is wide.
    """

    def __init__(
        self,
        transformer: nn.Module,
        targets: Sequence[str],
        down_size: int,
        up_size: int,
        rank: int = 1,
        scale: float = 1.0,
        share_qkv_down: bool = False,
        blocks_name: str = "transformer_blocks",
    ) -> None:
        self.down_size, self.up_size, self.rank, self.scale = down_size, up_size, rank, scale
        self.layers: dict[str, LightLoRALinear] = {}
        for index, block in enumerate(transformer.get_submodule(blocks_name)):
            shared: nn.Parameter | None = None
            for target in targets:
                base = _target(block, target)
                shares = share_qkv_down and target.rpartition(".")[2] in ("to_q", "to_k", "to_v")
                if shares and shared is not None:
                    down_aux = shared
                else:
                    down_aux = _orthogonal(down_size, base.in_features, base.weight, f"{target}: down_size")
                if shares:
                    shared = down_aux
                up_aux = _orthogonal(
                    up_size, base.out_features, base.weight, f"{target}: up_size", columns=True
                )
                layer = LightLoRALinear(base, down_aux, up_aux, scale)
                self.layers[f"{blocks_name}.{index}.{target}"] = layer
        # Only now: settings that were refused above have changed nothing.
        for path, layer in self.layers.items():
            parent, _, name = path.rpartition(".")
            setattr(transformer.get_submodule(parent), name, layer)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def values_per_layer(self) -> int:
        """Length of one layer's prediction, r · (a + b)."""
        return self.rank * (self.down_size + self.up_size)

    @property
    def device(self) -> torch.device:
        """Where the auxiliary matrices lie."""
        return next(iter(self.layers.values())).down_aux.device

    def parameters(self) -> list[nn.Parameter]:
        """The auxiliary matrices, each once (a shared one is in several layers)."""
        found = {}
        for layer in self.layers.values():
            for parameter in (layer.down_aux, layer.up_aux):
                found[id(parameter)] = parameter
        return list(found.values())

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions [B, L, r·(a+b)] → A_pred [B, L, r, a] and B_pred [B, L, b, r]."""
        batch, layers, values = theta.shape
        if (layers, values) != (len(self), self.values_per_layer):
            raise BadMethodSettings(
                f"An adapter of {layers} × {values} values does not fit this model of {len(self)} adapted"
                f" linears with {self.values_per_layer} values each. Predict it with the model it is used in."
            )
        down, up = theta.split([self.rank * self.down_size, self.rank * self.up_size], dim=-1)
        return (
            down.reshape(batch, layers, self.rank, self.down_size),
            up.reshape(batch, layers, self.up_size, self.rank),
        )

    def silent(self, theta: Tensor) -> Tensor:
        """Adapters [B, L, r·(a+b)] that change nothing and yet have a gradient: the same with B_pred = 0."""
        silent = theta.detach().clone()
        silent[..., self.rank * self.down_size :] = 0
        return silent

    def bind(self, theta: Tensor | None) -> None:
        """Give every layer its factors of theta [B, L, r·(a+b)]; None leaves the frozen backbone."""
        if theta is None:
            self._rebind([(None, None)] * len(self))
        else:
            down, up = self.split(theta)
            self._rebind(list(zip(down.unbind(1), up.unbind(1), strict=True)))

    @contextmanager
    def bound(self, theta: Tensor | None) -> Iterator[None]:
        """Bind for inference, then put back what was bound. Not for training: see `LightLoRALinear`."""
        before = [(layer.down_pred, layer.up_pred) for layer in self.layers.values()]
        self.bind(theta)
        try:
            yield
        finally:
            self._rebind(before)

    def _rebind(self, factors: Sequence[tuple[Tensor | None, Tensor | None]]) -> None:
        for layer, (down, up) in zip(self.layers.values(), factors, strict=True):
            layer.down_pred, layer.up_pred = down, up


def _target(block: nn.Module, target: str) -> nn.Linear:
    try:
        found = block.get_submodule(target)
    except AttributeError:
        found = None
    if isinstance(found, LightLoRALinear):
        raise BadMethodSettings(
            f"{target!r} carries a LightLoRA already: load the backbone again to adapt it anew."
        )
    if not isinstance(found, nn.Linear):
        linears = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        raise BadMethodSettings(
            f"{target!r} is no linear of a block. Choose targets from: {', '.join(linears)}."
        )
    return found


def _orthogonal(size: int, width: int, like: Tensor, setting: str, columns: bool = False) -> nn.Parameter:
    """`size` orthonormal rows [size, width], or columns [width, size], in fp32 on the device of `like`."""
    if size > width:
        raise BadMethodSettings(
            f"{setting} {size} exceeds the linear's width {width}: set it to {width} at most."
        )
    if like.is_meta:
        shape = (width, size) if columns else (size, width)
        return nn.Parameter(torch.empty(shape, device="meta"))
    q, r = torch.linalg.qr(torch.randn(width, size) / math.sqrt(width))
    q = q * torch.sign(torch.diagonal(r))
    return nn.Parameter((q if columns else q.T).contiguous().to(like.device))
