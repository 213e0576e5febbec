"""What the loop needs of a method: a module whose forward is the loss, and the tensors it trains."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from training.batch import TrainingBatch


@dataclass
class Loss:
    """What a training step minimises (`loss`, scalar, fp32, with gradient) and what it reports (detached)."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Method(Protocol):
    """An `nn.Module` that owns everything that trains, and the frozen backbone.

    A data-parallel engine wraps the module, so every trainable tensor takes part in its gradient reduction.
    """

    def __call__(self, batch: TrainingBatch) -> Loss:
        """The loss of a batch: the mean over its samples, each a pure function of the sample and its seed."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Every tensor that an optimizer should hold, each once."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable tensors by part, for norms per part."""

    def trainable_state(self) -> dict[str, Tensor]:
        """Name → trained tensor, each once: what a checkpoint holds."""

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Take trained tensors back; raises StateMismatch when they belong to another model."""
