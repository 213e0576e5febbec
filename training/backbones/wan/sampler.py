"""Wan's samplers, as diffusers' pipeline runs them."""

from collections.abc import Mapping, Sequence

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from training.errors import TrainingError

SCHEDULERS = {"unipc": UniPCMultistepScheduler, "euler": FlowMatchEulerDiscreteScheduler}


class WanSampler:
    """One denoising run under a scheduler's configuration (see `training.backbones.base.Sampler`).

    Args:
        config: of the backbone's scheduler.
        name: "unipc", "euler" or None, the class that the configuration names.

    Raises:
        TrainingError: another name, or a configuration of a scheduler that is none of Wan.
    """

    def __init__(self, config: Mapping, name: str | None = None) -> None:
        if name is not None and name not in SCHEDULERS:
            raise TrainingError(f"No scheduler named {name!r}: choose {' or '.join(SCHEDULERS)}.")
        kind = SCHEDULERS[name] if name else getattr(diffusers, config.get("_class_name", ""), None)
        if kind is None or kind not in SCHEDULERS.values():
            raise TrainingError(
                f"The backbone's scheduler {config.get('_class_name')!r} is none of Wan: choose 'unipc' or"
                " 'euler'."
            )
        shift = {"shift": config["flow_shift"]} if name == "euler" and "flow_shift" in config else {}
        self.scheduler = kind.from_config(dict(config), **shift)
        self.timesteps: Sequence[Tensor] = ()

    def begin(self, noise: Tensor, steps: int) -> Tensor:
        """Standard normal noise [B, F, C, h, w] is the latents of the first timestep."""
        self.scheduler.set_timesteps(steps, device=noise.device)
        self.timesteps = self.scheduler.timesteps
        return noise

    def scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """The latents as they are."""
        return latents

    def step(
        self, velocity: Tensor, timestep: Tensor, latents: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """The latents of the next timestep, in the dtype of `latents`; nothing is drawn."""
        moved: Tensor = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        return moved.to(latents.dtype)

    def clean(self, velocity: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """x − σ v: where a straight flow leads from the noise level σ of this timestep."""
        return latents - timestep / self.scheduler.config.num_train_timesteps * velocity

    def dynamic(self, guidance: float, timestep: Tensor) -> float:
        """Raises TrainingError: Wan's guidance does not change along the way."""
        raise TrainingError("Wan has no dynamic guidance: leave it off.")
