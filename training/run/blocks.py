"""How the run's settings apply to the blocks of the frozen transformer."""

from torch import nn

from training.errors import TrainingError
from training.run.activations import checkpoint_blocks, compile_blocks
from training.run.settings import TrainSettings


def prepare_blocks(module: nn.Module, settings: TrainSettings) -> None:
    """Apply the activation-checkpointing policy and compilation to the blocks of `module.dit`.

    Raises:
        TrainingError: the settings ask for either and the module has no `dit`.
    """
    policy = settings.activation_checkpointing
    if policy == "none" and not settings.compile:
        return
    dit = getattr(module, "dit", None)
    if dit is None:
        raise TrainingError(
            f"{type(module).__name__} has no transformer blocks: set `activation_checkpointing` to none "
            "and `compile` to false."
        )
    if isinstance(policy, int):
        checkpoint_blocks(dit, "every_n", policy)
    else:
        checkpoint_blocks(dit, policy)
    if settings.compile:
        compile_blocks(dit)
