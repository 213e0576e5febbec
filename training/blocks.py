"""How the blocks of a frozen transformer run in training: recomputed in backward, compiled, or plainly."""

from collections.abc import Callable

from torch import nn
from torch.utils.checkpoint import checkpoint

from training.config import TrainSettings
from training.errors import TrainingError


def prepare_blocks(module: nn.Module, settings: TrainSettings) -> None:
    """Apply the activation-checkpointing policy and compilation to `module.transformer`'s blocks.

    Raises:
        TrainingError: the settings ask for either and the module has no `transformer` with blocks.
    """
    if settings.activation_checkpointing == "none" and not settings.compile:
        return
    transformer = getattr(module, "transformer", None)
    if not hasattr(transformer, "transformer_blocks"):
        raise TrainingError(
            f"{type(module).__name__} has no transformer blocks: set `activation_checkpointing` to none "
            "and `compile` to false."
        )
    blocks = list(transformer.transformer_blocks)
    if settings.activation_checkpointing != "none":
        every = 1 if settings.activation_checkpointing == "full" else settings.activation_checkpointing
        transformer.enable_gradient_checkpointing(_recompute(blocks[::every]))
    if settings.compile:
        for block in blocks:
            block.compile()


def _recompute(chosen: list[nn.Module]) -> Callable:
    """What diffusers calls for each block. Only non-reentrant checkpointing sees that gradients are due to
    tensors which a block does not get as an argument: the predicted factors."""
    identities = {id(block) for block in chosen}

    def run(block: nn.Module, *args):
        if id(block) in identities:
            return checkpoint(block, *args, use_reentrant=False)
        return block(*args)

    return run
