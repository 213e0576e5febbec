"""An ordinary LoRA beside the linears of a transformer's blocks."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.backbones.base import DiT
from training.errors import BadMethodSettings

# What makes keys and values of the image in a Wan's cross-attention: `k_img` and `v_img` of the original.
LEFT_OUT = ("add_k_proj", "add_v_proj")


class LoRALinear(nn.Module):
    """A frozen linear with a low-rank residual: y = W x + up (down x), down [r, in], up [out, r].

    alpha is r, so the residual's scale is 1. Kept in fp32, multiplied in the dtype of x. `silent` leaves the
    linear as it was frozen.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.silent = False
        like = {"device": base.weight.device, "dtype": torch.float32}
        # As PEFT begins: W is unchanged at first, and the gradient to `up` is not zero.
        down = torch.empty(rank, base.in_features, device="meta" if base.weight.is_meta else "cpu")
        if not down.is_meta:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.down = nn.Parameter(down.to(**like))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x: Tensor) -> Tensor:
        """x […, in] → […, out]."""
        y: Tensor = self.base(x)
        if self.silent:
            return y
        residual = nn.functional.linear(nn.functional.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))
        return y + residual


class LoRA:
    """The adapted linears of one transformer, in order: all of its blocks but `LEFT_OUT`.

    Not a module: its layers are registered where they stand in the transformer, which it changes in place.

    Attributes:
        layers: by the path of the linear ("blocks.0.attn1.to_q").

    Raises:
        BadMethodSettings: the transformer carries a LoRA already.
    """

    def __init__(self, dit: DiT, rank: int) -> None:
        found = {}
        for number, block in enumerate(dit.blocks):
            for name, module in block.named_modules():
                if isinstance(module, LoRALinear):
                    raise BadMethodSettings("This backbone carries a LoRA already: load it again.")
                if isinstance(module, nn.Linear) and name.rpartition(".")[2] not in LEFT_OUT:
                    found[f"{dit.blocks_name}.{number}.{name}"] = module
        self.layers = {path: LoRALinear(linear, rank) for path, linear in found.items()}
        for path, layer in self.layers.items():
            parent, _, name = path.rpartition(".")
            setattr(dit.module.get_submodule(parent), name, layer)

    def parameters(self) -> list[nn.Parameter]:
        """down and up of each linear."""
        return [tensor for layer in self.layers.values() for tensor in (layer.down, layer.up)]

    @contextmanager
    def heard(self, wanted: bool) -> Iterator[None]:
        """With the residuals, or without them."""
        before = [layer.silent for layer in self.layers.values()]
        for layer in self.layers.values():
            layer.silent = not wanted
        try:
            yield
        finally:
            for layer, silent in zip(self.layers.values(), before, strict=True):
                layer.silent = silent
