"""A frozen DiT and what trains beside it: what all methods share, whatever that is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

import torch
from torch import Tensor, nn

from training.backbones.base import DiT, Velocity
from training.batch import TrainingBatch
from training.errors import BadAdapter, BadMethodSettings, StateMismatch
from training.methods.base import Condition, Loss
from training.methods.lightlora.file import AdapterFile
from training.methods.settings import LossSettings, require_predictions


def require_family(settings: LossSettings, family: str) -> None:
    """Check that a method takes a family of backbones; raises BadMethodSettings."""
    if family not in settings.families:
        kind = getattr(settings, "kind", type(settings).__name__)
        raise BadMethodSettings(
            f"method.kind={kind} is made for {' and '.join(sorted(settings.families))}, and this backbone"
            f" is a {family}: set backbone.model to another one, or method.kind."
        )


class FrozenDiT(nn.Module, ABC):
    """A method (`training.methods.base.Method`) but for its condition and what denoises under it.

    Args:
        dit: the backbone's; frozen here. A method may adapt it in place.
        settings: of the method.

    Raises:
        BadMethodSettings: the method is not made for this family of backbones.
    """

    def __init__(self, dit: DiT, settings: LossSettings) -> None:
        super().__init__()
        require_family(settings, dit.family)
        self.settings = settings
        self.dit = dit
        self.transformer = dit.module.requires_grad_(False).eval()

    @abstractmethod
    def under(self, condition: Condition | None) -> AbstractContextManager[Velocity]:
        """Denoise under a condition, for inference; None: the backbone as it was frozen."""

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable tensors by part."""

    def learn_from(self, auxiliary: Mapping[str, Tensor] | None, spread: float) -> None:
        """Raises BadMethodSettings, but of a method that predicts adapters."""
        require_predictions(self.settings)

    def denoised(self, batch: TrainingBatch, velocity: Velocity) -> Loss:
        """The mean loss of the batch's targets under a velocity, with gradient."""
        objective = self.dit.objective
        noisy, timesteps, target = objective.corrupt(
            batch.target_latents, batch.sample_seeds, self.settings.timestep_shift, batch.noise
        )
        errors = objective.losses(velocity(noisy, timesteps, batch.scene), target, timesteps)
        loss = (errors * objective.weights(timesteps, self.settings.min_snr_gamma)).mean()
        metrics = {
            "loss": loss.detach(),
            "unweighted_loss": errors.detach().mean(),
            "timestep": timesteps.float().mean(),
        }
        return Loss(loss, metrics)

    def sample_losses(
        self, batch: TrainingBatch, condition: Condition | None, timestep_shift: float = 1.0
    ) -> Tensor:
        """Unweighted loss of each sample, fp32 [B], under a condition (None: the frozen backbone)."""
        noisy, timesteps, target = self.dit.objective.corrupt(
            batch.target_latents, batch.sample_seeds, timestep_shift
        )
        with self.under(condition) as velocity:
            return self.dit.objective.losses(velocity(noisy, timesteps, batch.scene), target, timesteps)

    def blend(self, conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
        """One condition at weight 1, as it is; a method whose conditions are adapters adds them up."""
        if len(conditions) != 1 or weights[0] != 1:
            raise BadMethodSettings(
                f"{self._kind} makes no adapters that could be added up: leave strength and weights at 1, and"
                f" name at most {self.settings.references_per_target} references of one effect."
            )
        return conditions[0]

    def reduce(self, condition: Condition) -> tuple[Condition, float]:
        """The condition as it is."""
        return condition, 1.0

    def load(self, file: AdapterFile) -> Condition:
        """Raises BadAdapter."""
        raise BadAdapter(
            f"{file.path} holds an adapter, and {self._kind} takes none: name a model that makes adapters."
        )

    @property
    def _kind(self) -> str:
        return getattr(self.settings, "kind", type(self).__name__)

    def train(self, mode: bool = True) -> Self:
        """The frozen transformer stays in evaluation mode whatever the mode of the rest."""
        super().train(mode)
        self.transformer.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor once."""
        return [parameter for group in self.parameter_groups().values() for parameter in group]

    def trainable_state(self) -> dict[str, Tensor]:
        """Name → trained tensor (detached, not copied); a shared tensor stands under its first name only."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors in.

        Raises:
            StateMismatch: names or shapes are not this model's; nothing was copied.
        """
        own = {name: value for name, value in self.named_parameters() if value.requires_grad}
        if different := sorted(own.keys() ^ state.keys()):
            raise StateMismatch(
                f"The trained tensors are another model's: {len(different)} names differ, {different[0]!r}"
                " first. Use the settings that the checkpoint was trained with."
            )
        for name, value in own.items():
            if value.shape != state[name].shape:
                raise StateMismatch(
                    f"The trained tensor {name!r} has shape {tuple(state[name].shape)}, this model needs"
                    f" {tuple(value.shape)}. Use the settings that the checkpoint was trained with."
                )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])
