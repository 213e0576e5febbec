"""What a method is to everything else: how references become a condition, its loss, its state, its cost.

The loop, preflight, evaluation, samples, generation, release and the commands know this protocol;
`registry.py` is the one file that names methods, and README.md says how to add one.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT, Velocity
from training.batch import References, TrainingBatch

if TYPE_CHECKING:
    from training.methods.lightlora.file import AdapterFile

# What a method makes of references and denoises under: predicted factors, rows of a table.
Condition = Any


@dataclass
class Loss:
    """What a training step minimises (`loss`, scalar, fp32, with gradient) and what it reports (detached)."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Method(Protocol):
    """An `nn.Module` that owns everything that trains, and the frozen backbone.

    A data-parallel engine wraps the module, so every trainable tensor takes part in its gradient reduction.

    Attributes:
        settings: one of `registry.MethodSettings`.
        dit: the frozen transformer, prepared for the method.
    """

    settings: Any
    dit: DiT

    def __call__(self, batch: TrainingBatch) -> Loss:
        """The loss of a batch: the mean over its samples, each a pure function of the sample and its seed."""

    def condition(self, references: References) -> Condition:
        """What the references say, one entry a sample; with gradient where it is asked for."""

    def learn_from(self, auxiliary: Mapping[str, Tensor] | None, spread: float) -> None:
        """From now on the loss is how far predictions are from a teacher's adapters (`References.adapters`),
        under auxiliary matrices that stay as the teacher's are; raises BadMethodSettings where the method
        predicts none.

        Args:
            auxiliary: the teacher's matrices by name; None: as they are, where only sizes are asked for.
            spread: of the teacher's adapters: their mean squared distance from their mean, of each value.
        """

    def under(self, condition: Condition | None) -> AbstractContextManager[Velocity]:
        """Denoise under a condition, for inference; None: the backbone as it was frozen."""

    def sample_losses(
        self, batch: TrainingBatch, condition: Condition | None, timestep_shift: float = 1.0
    ) -> Tensor:
        """Unweighted loss of each sample, fp32 [B], under a condition."""

    def vector(self, condition: Condition) -> Tensor | None:
        """One sample's condition as numbers, fp32 [n], to store and compare; None where it is no adapter."""

    def export(self, condition: Condition) -> dict[str, Tensor] | None:
        """One sample's condition as a LoRA that diffusers loads, by tensor name; None where it is none."""

    def blend(self, conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
        """One sample's conditions as one: adapters added up by weight; raises BadMethodSettings where it can
        take one alone and as it is."""

    def reduce(self, condition: Condition) -> tuple[Condition, float]:
        """The nearest condition no larger than a prediction, and how much of this one it keeps, 0 to 1."""

    def load(self, file: "AdapterFile") -> Condition:
        """What is in an adapter's file; raises BadAdapter where it is none of this model's."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Every tensor that an optimizer should hold, each once."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable tensors by part, for norms per part."""

    def trainable_state(self) -> dict[str, Tensor]:
        """Name → trained tensor, each once: what a checkpoint holds."""

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Take trained tensors back; raises StateMismatch when they belong to another model."""

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of one sample's training step, the frozen backbone's too; of latents [F, C, h, w]."""

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that one sample's backward pass needs, at their peak."""


def device_of(method: Method) -> torch.device:
    """Where a method computes."""
    return next(method.dit.module.parameters()).device


def dtype_of(method: Method) -> torch.dtype:
    """What a method takes its batches in: the dtype of the frozen backbone."""
    return next(method.dit.module.parameters()).dtype
