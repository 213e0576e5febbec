"""The diffusion of CogVideoX: its noise schedule, the v-target and its loss. fp32 throughout.

The schedule's table is a plain tensor, not a buffer of a module: an engine that casts a module to bf16 would
cast it too, and 1 - ᾱ near the clean end does not survive 8 bits of mantissa.
"""

from collections.abc import Mapping

import torch
from diffusers import CogVideoXDDIMScheduler
from torch import Tensor

from training.errors import UnsupportedBackbone
from training.randomness import integer, noise_of


class Diffusion:
    """Corruption and loss under a scheduler's configuration (as read from `scheduler/scheduler_config.json`).

    x_t = √ᾱ_t x₀ + √(1-ᾱ_t) ε,   v = √ᾱ_t ε - √(1-ᾱ_t) x₀

    Raises:
        UnsupportedBackbone: the scheduler predicts something other than v.
    """

    def __init__(self, scheduler_config: Mapping) -> None:
        scheduler = CogVideoXDDIMScheduler.from_config(dict(scheduler_config))
        if scheduler.config.prediction_type != "v_prediction":
            raise UnsupportedBackbone(
                f"The scheduler predicts {scheduler.config.prediction_type!r}; the loss is for v_prediction."
                " Use the scheduler configuration that the backbone was released with."
            )
        self.alphas_cumprod = scheduler.alphas_cumprod.double()
        self.num_timesteps = len(self.alphas_cumprod)

    def timesteps(self, seeds: Tensor, shift: float = 1.0) -> Tensor:
        """One timestep per sample, int64 [B] on the CPU: uniform over the schedule, or towards noise."""
        drawn = torch.tensor([integer(seed, "timestep", self.num_timesteps) for seed in seeds.tolist()])
        return self.timesteps_at((drawn.double() + 0.5) / self.num_timesteps, shift)

    def timesteps_at(self, share: Tensor, shift: float = 1.0) -> Tensor:
        """The timesteps, int64, at shares of the schedule in (0, 1), shifted towards noise.

        The shift s of flow models (SD3, 2403.03206, eq. 23): a share u of the schedule becomes
        s·u / (1 + (s - 1)·u).
        """
        return (self.num_timesteps * shift * share / (1 + (shift - 1) * share)).long()

    def corrupt(
        self, latents: Tensor, seeds: Tensor, timestep_shift: float = 1.0, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Noise the clean latents [B, F, C, h, w], each sample by its own seed.

        Args:
            latents, seeds: of the samples.
            timestep_shift: towards noise; 1 is uniform.
            noise: what `noise_of` draws for the seeds, where somebody has drawn it before.

        Returns:
            noisy latents in the dtype of `latents`, timesteps int64 [B], the v-target in fp32.
        """
        timesteps = self.timesteps(seeds, timestep_shift).to(latents.device)
        drawn = noise_of(seeds, latents.shape[1:]) if noise is None else noise
        noise = drawn.to(latents.device)
        clean = latents.float()
        noisy = self.add_noise(clean, noise, timesteps)
        return noisy.to(latents.dtype), timesteps, self.velocity(clean, noise, timesteps)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t of clean latents and noise [B, …] at timesteps [B]."""
        signal, sigma = self._scales(timesteps, clean)
        return signal * clean + sigma * noise

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The v-target of clean latents and noise [B, …] at timesteps [B]."""
        signal, sigma = self._scales(timesteps, clean)
        return signal * noise - sigma * clean

    def clean_estimate(self, velocity: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """x₀ as a predicted velocity implies it: √ᾱ x_t - √(1-ᾱ) v."""
        signal, sigma = self._scales(timesteps, noisy)
        return signal * noisy - sigma * velocity

    def losses(self, predicted: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """Loss of each sample, fp32 [B]: the mean squared error of v at its timestep."""
        return (predicted.float() - target.float()).square().flatten(1).mean(dim=1)

    def weights(self, timesteps: Tensor, min_snr_gamma: float | None = None) -> Tensor:
        """Weight of the v-loss per timestep, fp32 [B].

        1 without `min_snr_gamma`. With it min(SNR, γ) / (SNR + 1), SNR = ᾱ / (1-ᾱ) (Hang et al., 2303.09556,
        for a v-prediction). The v-loss is the x₀-loss times SNR + 1 = 1 / (1-ᾱ), so this caps the x₀-loss at
        γ.
        """
        if min_snr_gamma is None:
            return torch.ones(timesteps.shape, dtype=torch.float32, device=timesteps.device)
        alpha = self.alphas_cumprod.to(timesteps.device)[timesteps]
        snr = alpha / (1 - alpha)
        return (snr.clamp(max=min_snr_gamma) / (snr + 1)).float()

    def weight_near_noise(self, min_snr_gamma: float) -> float:
        """The share of the loss's weight that min-SNR weighting leaves to the last tenth of the timesteps."""
        weights = self.weights(torch.arange(self.num_timesteps), min_snr_gamma)
        return float(weights[-(self.num_timesteps // 10) :].sum() / weights.sum())

    def _scales(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.alphas_cumprod.to(timesteps.device)[timesteps]
        shape = (-1, *[1] * (like.ndim - 1))
        return alpha.sqrt().float().view(shape), (1 - alpha).sqrt().float().view(shape)
