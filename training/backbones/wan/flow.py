"""Flow matching: the straight way from latents to noise, and its loss. fp32 throughout."""

from collections.abc import Mapping

import torch
from torch import Tensor

from training.errors import UnsupportedBackbone
from training.randomness import noise_of, stream


class FlowMatching:
    """Corruption and loss of a flow model (see `training.backbones.base.Objective`).

    x_σ = (1 - σ) x₀ + σ ε,   v = ε - x₀,   t = σ · 1000

    Args:
        scheduler_config: as read from `scheduler/scheduler_config.json`.

    Raises:
        UnsupportedBackbone: the scheduler predicts something other than a flow.
    """

    def __init__(self, scheduler_config: Mapping) -> None:
        predicts = scheduler_config.get("prediction_type", "flow_prediction")
        if predicts != "flow_prediction":
            raise UnsupportedBackbone(
                f"The scheduler predicts {predicts!r}; the loss is for flow_prediction. Use the scheduler"
                " configuration that the backbone was released with."
            )
        self.num_timesteps = int(scheduler_config.get("num_train_timesteps", 1000))

    def timesteps(self, seeds: Tensor, shift: float = 1.0) -> Tensor:
        """One timestep per sample, fp32 [B] on the CPU: uniform, or shifted towards noise as SD3's are."""
        share = torch.tensor([stream(seed, "timestep").random() for seed in seeds.tolist()])
        return self.timesteps_at(share, shift)

    def timesteps_at(self, share: Tensor, shift: float = 1.0) -> Tensor:
        """The timesteps, fp32, at shares of the schedule in (0, 1), shifted to noise (2403.03206, 23)."""
        return (self.num_timesteps * shift * share / (1 + (shift - 1) * share)).float()

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The noisy latents x_σ [B, F, C, h, w] at timesteps [B]."""
        sigma = (timesteps / self.num_timesteps).view(-1, *[1] * (latents.ndim - 1))
        return (1 - sigma) * latents + sigma * noise

    def velocity(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The flow from latents to noise, the same at every timestep."""
        return noise - latents

    def corrupt(
        self, latents: Tensor, seeds: Tensor, timestep_shift: float = 1.0, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Noise the clean latents [B, F, C, h, w], each sample by its own seed.

        Returns:
            noisy latents in the dtype of `latents`, timesteps fp32 [B], the flow in fp32.
        """
        timesteps = self.timesteps(seeds, timestep_shift).to(latents.device)
        drawn = noise_of(seeds, latents.shape[1:]) if noise is None else noise
        noise, clean = drawn.to(latents.device), latents.float()
        noisy = self.add_noise(clean, noise, timesteps)
        return noisy.to(latents.dtype), timesteps, self.velocity(clean, noise, timesteps)

    def losses(self, predicted: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """Loss of each sample, fp32 [B]: the mean squared error of the flow."""
        return (predicted.float() - target.float()).square().flatten(1).mean(dim=1)

    def weights(self, timesteps: Tensor, min_snr_gamma: float | None = None) -> Tensor:
        """Weight of the loss per timestep, fp32 [B]: 1, or σ² min(SNR, γ) with SNR = ((1 - σ) / σ)².

        The flow's loss is the x₀-loss divided by σ², so this is the x₀-loss weighted by SNR and capped at γ.
        """
        if min_snr_gamma is None:
            return torch.ones(timesteps.shape, dtype=torch.float32, device=timesteps.device)
        sigma = timesteps.double() / self.num_timesteps
        return torch.minimum((1 - sigma) ** 2, min_snr_gamma * sigma**2).float()

    def weight_near_noise(self, min_snr_gamma: float) -> float:
        """The share of the loss's weight that min-SNR weighting leaves to the last tenth of the timesteps."""
        weights = self.weights(torch.arange(self.num_timesteps) + 0.5, min_snr_gamma)
        return float(weights[-(self.num_timesteps // 10) :].sum() / weights.sum())
