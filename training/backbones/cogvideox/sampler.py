"""CogVideoX's samplers, as diffusers' pipeline runs them."""

import inspect
import math
from collections.abc import Mapping, Sequence

import diffusers
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler
from torch import Tensor

from training.errors import TrainingError

SCHEDULERS = {"ddim": CogVideoXDDIMScheduler, "dpm": CogVideoXDPMScheduler}


class CogVideoXSampler:
    """One denoising run under a scheduler's configuration (see `training.backbones.base.Sampler`).

    Args:
        config: of the backbone's scheduler.
        name: "ddim", "dpm" or None, the class that the configuration names.

    Raises:
        TrainingError: another name, or a configuration of a scheduler that is none of CogVideoX.
    """

    def __init__(self, config: Mapping, name: str | None = None) -> None:
        self.scheduler = _scheduler(config, name)
        self.timesteps: Sequence[Tensor] = ()
        self._takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters

    def begin(self, noise: Tensor, steps: int) -> Tensor:
        """Standard normal noise [B, F, C, h, w] → the latents of the first timestep."""
        self.scheduler.set_timesteps(steps, device=noise.device)
        self.timesteps = self.scheduler.timesteps
        # DPM-Solver++ (2M) looks back one step: the estimate and the timestep of the step before.
        self._estimate: Tensor | None = None
        self._earlier: Tensor | None = None
        return noise * self.scheduler.init_noise_sigma

    def scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """The latents as the model takes them."""
        return self.scheduler.scale_model_input(latents, timestep)

    def step(
        self, velocity: Tensor, timestep: Tensor, latents: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """The latents of the next timestep, in the dtype of `latents`."""
        extra = {"generator": generator} if self._takes_generator else {}
        if isinstance(self.scheduler, CogVideoXDPMScheduler):
            moved, self._estimate = self.scheduler.step(
                velocity, self._estimate, timestep, self._earlier, latents, **extra, return_dict=False
            )
        else:
            moved = self.scheduler.step(velocity, timestep, latents, **extra, return_dict=False)[0]
        self._earlier = timestep
        return moved.to(latents.dtype)

    def clean(self, velocity: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """√ᾱ x − √(1−ᾱ) v: what a model that predicts v says of the clean latents."""
        kept = self.scheduler.alphas_cumprod.to(latents.device)[timestep]
        return kept.sqrt() * latents - (1 - kept).sqrt() * velocity

    def dynamic(self, guidance: float, timestep: Tensor) -> float:
        """diffusers' `use_dynamic_cfg`: guidance along a cosine of the timestep."""
        steps = len(self.timesteps)
        return 1 + guidance * ((1 - math.cos(math.pi * ((steps - timestep.item()) / steps) ** 5.0)) / 2)


def _scheduler(config: Mapping, name: str | None) -> CogVideoXDDIMScheduler | CogVideoXDPMScheduler:
    if name is not None and name not in SCHEDULERS:
        raise TrainingError(f"No scheduler named {name!r}: choose {' or '.join(SCHEDULERS)}.")
    kind = SCHEDULERS[name] if name else getattr(diffusers, config.get("_class_name", ""), None)
    if kind is None or kind not in SCHEDULERS.values():
        raise TrainingError(
            f"The backbone's scheduler {config.get('_class_name')!r} is none of CogVideoX: choose 'ddim' or"
            " 'dpm'."
        )
    return kind.from_config(dict(config))
