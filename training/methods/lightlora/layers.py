"""LightLoRA: low-rank residuals on frozen linears, factors predicted per sample (Video2LoRA, eq. 2-3)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
        # down [1, r, in] and up [1, out, r] of a LoRA from elsewhere, in the place of predictions.
        self.given: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, in] → [B, N, out]; predictions of one sample serve a batch of any size."""
        y = self.base(x)
        if self.given is not None:
            factors, scale = self.given, 1.0
        elif self.down_pred is not None and self.up_pred is not None:
            factors, scale = self.factors(self.down_pred, self.up_pred), self.scale
        else:
            return y
        down, up = (factor.to(x).transpose(1, 2).expand(len(x), -1, -1) for factor in factors)
        # One pass over y: the residual [B, N, out] is never held beside it.
        return torch.baddbmm(y, x @ down, up, alpha=scale)

    def factors(self, down_pred: Tensor, up_pred: Tensor) -> tuple[Tensor, Tensor]:
        """down [B, r, in] and up [B, out, r] of [B, r, a] and [B, b, r], in the weights' dtype."""
        return down_pred.to(self.down_aux.dtype) @ self.down_aux, self.up_aux @ up_pred.to(self.up_aux.dtype)


def auxiliary_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The auxiliary matrices among trained tensors, by their names."""
    return {name: value for name, value in state.items() if name.rpartition(".")[2] in ("down_aux", "up_aux")}


# A_pred and B_pred of a layer, or down and up of a LoRA from elsewhere, or nothing.
_Bound = tuple[Tensor | None, Tensor | None, tuple[Tensor, Tensor] | None]


@dataclass(frozen=True)
class Factors:
    """One adapter as an ordinary LoRA: by linear, down [r, in] and up [out, r], each linear with its own r.

    What is left of an adapter that no auxiliary matrices are known of, as one that another tool trained.
    """

    by_linear: Mapping[str, tuple[Tensor, Tensor]]

    def of(self, linear: str) -> tuple[Tensor, Tensor] | None:
        """down [1, r, in] and up [1, out, r] of a linear; None where it has none."""
        found = self.by_linear.get(linear)
        return None if found is None else (found[0][None], found[1][None])


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
        """Adapters [B, L, r·(a+b)] → A_pred [B, L, r, a] and B_pred [B, L, b, r].

        r is the adapters' own: the sum of several has a larger one than a prediction.
        """
        batch, layers, values = theta.shape
        rank, rest = divmod(values, self.down_size + self.up_size)
        if layers != len(self) or rest or not rank:
            raise BadMethodSettings(
                f"An adapter of {layers} × {values} values does not fit this model of {len(self)} adapted"
                f" linears with {self.values_per_layer} values each. Predict it with the model it is used in."
            )
        down, up = theta.split([rank * self.down_size, rank * self.up_size], dim=-1)
        return (
            down.reshape(batch, layers, rank, self.down_size),
            up.reshape(batch, layers, self.up_size, rank),
        )

    @staticmethod
    def joined(down_pred: Tensor, up_pred: Tensor) -> Tensor:
        """A_pred [B, L, r, a] and B_pred [B, L, b, r] → adapters [B, L, r·(a+b)]: `split` taken back."""
        return torch.cat([down_pred.flatten(2), up_pred.flatten(2)], dim=-1)

    def silent(self, theta: Tensor) -> Tensor:
        """Adapters [B, L, r·(a+b)] that change nothing and yet have a gradient: the same with B_pred = 0."""
        silent = theta.detach().clone()
        silent[..., self.rank * self.down_size :] = 0
        return silent

    def bind(self, adapter: Tensor | Factors | None) -> None:
        """Give every layer its factors of θ [B, L, r·(a+b)], or a LoRA's; None leaves the frozen backbone."""
        if adapter is None:
            self._rebind([(None, None, None)] * len(self))
        elif isinstance(adapter, Factors):
            self._rebind([(None, None, adapter.of(name)) for name in self.layers])
        else:
            down, up = self.split(adapter)
            self._rebind([(*factors, None) for factors in zip(down.unbind(1), up.unbind(1), strict=True)])

    @contextmanager
    def bound(self, adapter: Tensor | Factors | None) -> Iterator[None]:
        """Bind for inference, then put back what was bound. Not for training: see `LightLoRALinear`."""
        before = [(layer.down_pred, layer.up_pred, layer.given) for layer in self.layers.values()]
        self.bind(adapter)
        try:
            yield
        finally:
            self._rebind(before)

    def _rebind(self, bound: Sequence[_Bound]) -> None:
        for layer, (down, up, given) in zip(self.layers.values(), bound, strict=True):
            layer.down_pred, layer.up_pred, layer.given = down, up, given


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
