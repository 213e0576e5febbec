"""What a training step keeps and how it runs the transformer's blocks: checkpointing and regional compile."""

from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from training.backbones.base import DiT
from training.errors import BadMethodSettings

CheckpointPolicy = Literal["none", "every_n", "full"]


def checkpoint_blocks(dit: DiT, policy: CheckpointPolicy, every: int = 2) -> None:
    """Choose which blocks forget their activations and compute them again in the backward pass.

    Args:
        policy: `none` keeps all, `full` forgets all, `every_n` forgets block 0, n, 2n, …
        every: n of `every_n`.

    Non-reentrant: the reentrant kind sees no gradient to tensors that are not arguments of a block, such as
    the predicted factors.

    Raises:
        BadMethodSettings: another policy, or `every` below 1.
    """
    if policy not in ("none", "every_n", "full") or every < 1:
        raise BadMethodSettings(
            f"No checkpointing policy {policy!r} with every={every}: choose 'none', 'full', or 'every_n' with"
            " every of at least 1."
        )
    if policy == "none":
        dit.module.disable_gradient_checkpointing()
        return
    stride = 1 if policy == "full" else every
    forgetful = {id(block) for block in list(dit.blocks)[::stride]}

    def run(block: nn.Module, *inputs: object) -> object:
        if id(block) in forgetful:
            # No dropout in the blocks, so no random state to put back.
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return block(*inputs)

    dit.module.enable_gradient_checkpointing(run)


def compile_blocks(dit: DiT, backend: str = "inductor") -> None:
    """Compile each block in place (regional: one block's code serves all, and no parameter's name changes).

    diffusers' own `compile_repeated_blocks` does nothing here: the class names no repeated blocks.
    """
    for block in dit.blocks:
        block.compile(backend=backend, fullgraph=True)


def uncompiled(module: nn.Module) -> None:
    """Undo `compile_blocks` for every submodule: for export and for debugging."""
    for part in module.modules():
        part._compiled_call_impl = None
    torch.compiler.reset()
