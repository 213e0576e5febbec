"""How the run's settings apply to the blocks of the frozen transformer."""

from torch import nn

from training.errors import TrainingError
from training.run.activations import checkpoint_blocks, compile_blocks
from training.run.settings import TrainSettings


def prepare_blocks(module: nn.Module, settings: TrainSettings) -> None:
    """Apply the activation-checkpointing policy and compilation to `module.transformer`'s blocks.

    Raises:
        TrainingError: the settings ask for either and the module has no `transformer` with blocks.
    """
    policy = settings.activation_checkpointing
    if policy == "none" and not settings.compile:
        return
    transformer = getattr(module, "transformer", None)
    if not hasattr(transformer, "transformer_blocks"):
        raise TrainingError(
            f"{type(module).__name__} has no transformer blocks: set `activation_checkpointing` to none "
            "and `compile` to false."
        )
    if isinstance(policy, int):
        checkpoint_blocks(transformer, "every_n", policy)
    else:
        checkpoint_blocks(transformer, policy)
    if settings.compile:
        compile_blocks(transformer)
