"""A frozen DiT with LightLoRA adapters in it: what all methods share whose condition is an adapter θ."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT, Velocity
from training.batch import References, TrainingBatch
from training.errors import StateMismatch
from training.methods.base import Loss
from training.methods.lightlora.cost import residual_flops
from training.methods.lightlora.export import adapter_to_lora
from training.methods.lightlora.layers import LightLoRA
from training.methods.lightlora.settings import LightLoRASettings


class AdaptedDiT(nn.Module, ABC):
    """A method (`training.methods.base.Method`) but for where its adapters θ [B, L, r·(a+b)] come from.

    Args:
        dit: the backbone's; frozen here and adapted in place (its target linears are replaced).
        settings: what is adapted.

    Raises:
        BadMethodSettings: settings that do not fit the DiT.
    """

    def __init__(self, dit: DiT, settings: LightLoRASettings) -> None:
        super().__init__()
        self.settings = settings
        self.dit = dit
        self.transformer = dit.module.requires_grad_(False).eval()
        self.adapters = LightLoRA(
            dit.module,
            settings.targets,
            settings.down_size,
            settings.up_size,
            settings.rank,
            settings.scale,
            settings.share_qkv_down,
            dit.blocks_name,
        )

    @abstractmethod
    def condition(self, references: References) -> Tensor:
        """Adapters θ [B, L, r·(a+b)], one a reference: what a method is about."""

    def forward(self, batch: TrainingBatch) -> Loss:
        """The mean loss of the batch, each target denoised under the adapter of its own reference.

        The factors stay bound after this returns: activation checkpointing needs them in backward.
        """
        theta = self.condition(batch.references)
        self.adapters.bind(theta)
        objective = self.dit.objective
        noisy, timesteps, target = objective.corrupt(
            batch.target_latents, batch.sample_seeds, self.settings.timestep_shift, batch.noise
        )
        predicted = self.dit.velocity(noisy, timesteps, batch.scene)
        errors = objective.losses(predicted, target, timesteps)
        loss = (errors * objective.weights(timesteps, self.settings.min_snr_gamma)).mean()
        down, up = self.adapters.split(theta.detach().float())
        metrics = {
            "loss": loss.detach(),
            "unweighted_loss": errors.detach().mean(),
            "timestep": timesteps.float().mean(),
            "adapter_norm": theta.detach().float().flatten(1).norm(dim=1).mean(),
            "adapter_up_norm": up.flatten(1).norm(dim=1).mean(),
            "adapter_down_norm": down.flatten(1).norm(dim=1).mean(),
        }
        return Loss(loss, metrics)

    @contextmanager
    def under(self, condition: Tensor | None) -> Iterator[Velocity]:
        """Denoise under adapters θ [B or 1, L, r·(a+b)], for inference; None: as it was frozen."""
        with self.adapters.bound(condition):
            yield self.dit.velocity

    def sample_losses(
        self, batch: TrainingBatch, condition: Tensor | None, timestep_shift: float = 1.0
    ) -> Tensor:
        """Unweighted loss of each sample, fp32 [B], under given adapters (None: the frozen backbone)."""
        noisy, timesteps, target = self.dit.objective.corrupt(
            batch.target_latents, batch.sample_seeds, timestep_shift
        )
        with self.under(condition) as velocity:
            return self.dit.objective.losses(velocity(noisy, timesteps, batch.scene), target, timesteps)

    def vector(self, condition: Tensor) -> Tensor:
        """θ [1, L, r·(a+b)] as one row of numbers."""
        return condition.detach().flatten().float().cpu()

    def export(self, condition: Tensor) -> dict[str, Tensor]:
        """The LoRA of θ [1, L, r·(a+b)]; see `adapter_to_lora`."""
        return adapter_to_lora(self.adapters, condition)

    def train(self, mode: bool = True) -> "AdaptedDiT":
        """The frozen transformer stays in evaluation mode whatever the mode of the rest."""
        super().train(mode)
        self.transformer.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor once."""
        return [parameter for group in self.parameter_groups().values() for parameter in group]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The auxiliary matrices; a method adds its own part."""
        return {"auxiliary": self.adapters.parameters()}

    def trainable_state(self) -> dict[str, Tensor]:
        """Name → trained tensor (detached, not copied); a shared matrix stands under its first name only."""
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

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT and the residuals, of one sample."""
        settings, linears = self.settings, [layer.base for layer in self.adapters.layers.values()]
        return self.dit.flops(latent_shape, checkpointing) + residual_flops(
            [(linear.in_features, linear.out_features) for linear in linears],
            self.dit.tokens(latent_shape),
            settings.rank,
            settings.down_size,
            settings.up_size,
        )

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values of one sample that the frozen DiT keeps: the residuals keep nothing that it does not."""
        return self.dit.kept_values(latent_shape, checkpointing)
