"""Video2LoRA (2603.08210): a hypernetwork turns a reference video into a LightLoRA for a frozen video DiT."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, nn

from training.backbones.cogvideox.conditioning import predict_velocity, require_image_to_video
from training.backbones.cogvideox.diffusion import Diffusion
from training.batch import TrainingBatch
from training.errors import StateMismatch
from training.methods.base import Loss
from training.methods.video2lora.hypernetwork import HyperNetwork
from training.methods.video2lora.lightlora import LightLoRA
from training.methods.video2lora.settings import Video2LoRASettings
from training.randomness import initial_values


class Video2LoRA(nn.Module):
    """Everything that trains, and the frozen DiT, in one module whose forward is the loss.

    A data-parallel engine wraps this module, so every trainable tensor takes part in its gradient reduction.

    Args:
        transformer: the backbone's DiT; frozen here and adapted in place (its target linears are replaced).
        settings: what is adapted and how it is predicted.
        scheduler_config: the backbone's scheduler configuration.
        min_snr_gamma: γ of the min-SNR weighting, None for the plain v-loss.
        timestep_shift: towards noise, of the timesteps that are trained on; 1 is uniform.
        seed: of the initial values; the global generator is neither read nor moved.

    Raises:
        UnsupportedBackbone: the transformer is no CogVideoX-I2V, or does not predict v.
        BadMethodSettings: settings that do not fit it.
    """

    def __init__(
        self,
        transformer: CogVideoXTransformer3DModel,
        settings: Video2LoRASettings,
        scheduler_config: Mapping,
        min_snr_gamma: float | None = None,
        seed: int = 0,
        timestep_shift: float = 1.0,
    ) -> None:
        super().__init__()
        require_image_to_video(transformer.config)
        self.settings = settings
        self.min_snr_gamma = min_snr_gamma
        self.timestep_shift = timestep_shift
        self.diffusion = Diffusion(scheduler_config)
        self.transformer = transformer.requires_grad_(False).eval()
        with initial_values(seed):
            self.adapters = LightLoRA(
                transformer,
                settings.targets,
                settings.down_size,
                settings.up_size,
                settings.rank,
                settings.scale,
                settings.share_qkv_down,
            )
            hypernetwork = HyperNetwork(
                channels=transformer.config.out_channels,
                layers=len(self.adapters),
                down_values=settings.rank * settings.down_size,
                up_values=settings.rank * settings.up_size,
                width=settings.width,
                heads=settings.heads,
                blocks=settings.layers,
                refinements=settings.refinements,
                patch=settings.patch,
                positions=settings.positions,
                identity_start=settings.identity_start,
                motion=settings.motion,
                video_blocks=settings.video_layers,
            )
        self.hypernetwork = hypernetwork.to(transformer.device)

    def forward(self, batch: TrainingBatch) -> Loss:
        """The mean v-loss of the batch, each target denoised under the adapter of its own reference.

        The predicted factors stay bound after this returns: activation checkpointing needs them in backward.
        """
        theta = self.predict(batch.reference_latents, batch.reference_mask)
        self.adapters.bind(theta)
        errors, weights, timesteps = self._denoise(batch, self.timestep_shift)
        loss = (errors * weights).mean()
        down, up = self.adapters.split(theta.detach().float())
        metrics = {
            "loss": loss.detach(),
            "v_loss": errors.detach().mean(),
            "timestep": timesteps.float().mean(),
            "adapter_norm": theta.detach().float().flatten(1).norm(dim=1).mean(),
            "adapter_up_norm": up.flatten(1).norm(dim=1).mean(),
            "adapter_down_norm": down.flatten(1).norm(dim=1).mean(),
        }
        return Loss(loss, metrics)

    def predict(self, reference_latents: Tensor, reference_mask: Tensor) -> Tensor:
        """Adapters θ [B, L, r·(a+b)] of references [B, F, C, h, w] with masks bool [B, F, h, w]."""
        return self.hypernetwork(reference_latents, reference_mask)

    def sample_losses(
        self, batch: TrainingBatch, theta: Tensor | None, timestep_shift: float = 1.0
    ) -> Tensor:
        """Unweighted v-loss of each sample, fp32 [B], under given adapters (None: the frozen backbone)."""
        with self.adapted(theta):
            return self._denoise(batch, timestep_shift)[0]

    @contextmanager
    def adapted(self, theta: Tensor | None) -> Iterator[CogVideoXTransformer3DModel]:
        """The transformer under adapters θ [B or 1, L, r·(a+b)], for inference; None: as it was frozen."""
        with self.adapters.bound(theta):
            yield self.transformer

    def _denoise(self, batch: TrainingBatch, timestep_shift: float) -> tuple[Tensor, Tensor, Tensor]:
        noisy, timesteps, target = self.diffusion.corrupt(
            batch.target_latents, batch.sample_seeds, timestep_shift
        )
        predicted = predict_velocity(
            self.transformer, noisy, batch.first_frame_latents, batch.text_embeddings, timesteps
        )
        errors = self.diffusion.losses(predicted, target, timesteps)
        return errors, self.diffusion.weights(timesteps, self.min_snr_gamma), timesteps

    def train(self, mode: bool = True) -> "Video2LoRA":
        """The frozen transformer stays in evaluation mode whatever the mode of the rest."""
        super().train(mode)
        self.transformer.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The hypernetwork's parameters and the auxiliary matrices, each once."""
        return [*self.hypernetwork.parameters(), *self.adapters.parameters()]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable tensors by part, for norms per part."""
        return {"hypernetwork": list(self.hypernetwork.parameters()), "auxiliary": self.adapters.parameters()}

    def trainable_state(self) -> dict[str, Tensor]:
        """Name → trained tensor (detached, not copied); a shared matrix stands under its first name only."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors in.

        Raises:
            StateMismatch: names or shapes are not this model's; nothing was copied.
        """
        own = {name: value for name, value in self.named_parameters() if value.requires_grad}
        if missing := sorted(own.keys() ^ state.keys()):
            raise StateMismatch(
                f"The trained tensors are another model's: {len(missing)} names differ, {missing[0]!r} first."
                " Use the settings that the checkpoint was trained with."
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
