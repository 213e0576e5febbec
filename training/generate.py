"""Denoising: first frame, prompt and adapter to frames, as diffusers' CogVideoX-I2V pipeline does it."""

import inspect
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import diffusers
import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, CogVideoXTransformer3DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from training.backbones.cogvideox import pixels as px
from training.backbones.cogvideox.backbone import Backbone
from training.backbones.cogvideox.conditioning import predict_velocity
from training.errors import TrainingError
from training.methods.video2lora.method import Video2LoRA

Progress = Callable[[int, int | None, dict], None]
SCHEDULERS = {"ddim": CogVideoXDDIMScheduler, "dpm": CogVideoXDPMScheduler}


@dataclass(frozen=True)
class Guidance:
    """How far a step is led away from the negative prompt, and from what the backbone does by itself.

    With v = v(prompt, adapter), prompt guidance w and adapter guidance a the step takes

        v + (w - 1) (v - v(negative, adapter)) + (a - 1) (v - v(prompt, none))

    Attributes:
        prompt: classifier-free guidance; 1 or less runs the prompt alone, in half the time.
        dynamic: lead by the prompt along a cosine of the timestep, as diffusers' `use_dynamic_cfg` does.
        adapter: 1 takes the adapter as it is; each other value costs one more forward a step.
        without_adapter: opens the transformer as it was frozen; None where there is no adapter to lead to.
    """

    prompt: float = 6.0
    dynamic: bool = False
    adapter: float = 1.0
    without_adapter: Callable[[], AbstractContextManager] | None = None


def generate(
    backbone: Backbone,
    method: Video2LoRA | None,
    theta: Tensor | None,
    first_frame_pixels: np.ndarray | Tensor,
    prompt: str,
    steps: int = 50,
    guidance: float = 6.0,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    negative_prompt: str = "",
    scheduler: str | None = None,
    dynamic_guidance: bool = False,
    adapter_guidance: float = 1.0,
) -> Tensor:
    """One video from its first frame, under one adapter.

    Args:
        backbone: loaded with "vae", "text" and "transformer" (the last may be the one that `method` adapted).
        method: what the adapter belongs to; None runs the backbone as it is.
        theta: adapter [L, r·(a+b)] or [1, L, r·(a+b)]; None leaves the backbone frozen.
        first_frame_pixels: [H, W, 3], uint8 or floating in [0, 1].
        guidance, dynamic_guidance, adapter_guidance: `prompt`, `dynamic` and `adapter` of `Guidance`.
        seed: of everything drawn; it gives what diffusers' pipeline gives for a CPU generator of that seed.
        progress: called after every step with (steps done, steps, {"timestep": t}).
        scheduler: "ddim", "dpm" or None, the class that the backbone's configuration names.

    Returns:
        uint8 frames [n, height, width, 3] at the backbone's sample geometry, on the CPU.

    Raises:
        TrainingError: an adapter without a method, steps below 1, or an unknown scheduler.
    """
    if theta is not None and method is None:
        raise TrainingError(
            "An adapter needs the method it was predicted by: pass the model together with it."
        )
    transformer = backbone.transformer if method is None else method.transformer
    device = transformer.device
    generator = torch.Generator("cpu").manual_seed(seed)
    frame = px.to_signed(first_frame_pixels[None], backbone.geometry)[0]
    prompts = [negative_prompt, prompt] if guidance > 1 else [prompt]
    text = torch.cat([backbone.encode_text([each]) for each in prompts]).to(device)
    image = px.encode_image(backbone.vae, frame, generator).to(device, text.dtype)
    noise = randn_tensor((1, *backbone.latent_shape), generator=generator, device=device, dtype=text.dtype)
    without_adapter = None if method is None or theta is None else lambda: method.adapted(None)

    def run() -> Tensor:
        return denoise(
            transformer,
            make_scheduler(backbone.scheduler_config, scheduler),
            noise,
            image[None],
            text,
            steps,
            Guidance(guidance, dynamic_guidance, adapter_guidance, without_adapter),
            generator,
            progress,
        )

    if method is None:
        return backbone.decode(run()[0])
    adapter = theta[None] if theta is not None and theta.ndim == 2 else theta
    with method.adapted(None if adapter is None else adapter.to(device)):
        return backbone.decode(run()[0])


def generate_from_reference(
    backbone: Backbone,
    method: Video2LoRA,
    reference_latents: Tensor,
    reference_mask: Tensor,
    first_frame_pixels: np.ndarray | Tensor,
    prompt: str,
    steps: int = 50,
    guidance: float = 6.0,
    seed: int = 0,
    progress: Progress | None = None,
    **options: object,
) -> Tensor:
    """Predict the adapter of one reference (latents [F, C, h, w], mask bool [F, h, w]), then `generate`."""
    device = method.transformer.device
    with torch.no_grad():
        theta = method.predict(reference_latents[None].to(device), reference_mask[None].to(device))
    return generate(
        backbone, method, theta, first_frame_pixels, prompt, steps, guidance, seed, progress, **options
    )


@torch.no_grad()
def denoise(
    transformer: CogVideoXTransformer3DModel,
    scheduler: CogVideoXDDIMScheduler | CogVideoXDPMScheduler,
    latents: Tensor,
    first_frame_latents: Tensor,
    text_embeddings: Tensor,
    steps: int,
    guidance: Guidance,
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """From noise to latents [B, F, C, h, w].

    Args:
        latents: standard normal noise [B, F, C, h, w].
        first_frame_latents: [B, C, h, w].
        text_embeddings: [B, T, D], or with prompt guidance above 1 [2B, T, D]: those of the negative prompts
            first.
    """
    if steps < 1:
        raise TrainingError(f"{steps} denoising steps make no video: ask for 1 at least (50 is usual).")
    guided = guidance.prompt > 1
    copies = 2 if guided else 1
    if len(text_embeddings) != copies * len(latents):
        raise TrainingError(
            f"{len(text_embeddings)} text embeddings for {len(latents)} videos with guidance"
            f" {guidance.prompt}: there must be {copies * len(latents)}."
        )
    scheduler.set_timesteps(steps, device=latents.device)
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents = latents * scheduler.init_noise_sigma
    image = torch.cat([first_frame_latents] * copies)
    # DPM-Solver++ (2M) looks back one step: the estimate and the timestep of the step before.
    earlier_estimate, earlier = None, None
    for done, t in enumerate(scheduler.timesteps, start=1):
        noisy = scheduler.scale_model_input(torch.cat([latents] * copies), t)
        velocity = predict_velocity(transformer, noisy, image, text_embeddings, t.expand(len(noisy))).float()
        plain = velocity[-len(latents) :]
        if guided:
            weight = guidance.prompt
            if guidance.dynamic:
                weight = _dynamic(weight, steps, t.item())
            negative = velocity[: len(latents)]
            velocity = negative + weight * (plain - negative)
        if guidance.adapter != 1 and guidance.without_adapter is not None:
            prompt = text_embeddings[-len(latents) :]
            with guidance.without_adapter():
                bare = predict_velocity(
                    transformer, noisy[-len(latents) :], first_frame_latents, prompt, t.expand(len(latents))
                ).float()
            velocity = velocity + (guidance.adapter - 1) * (plain - bare)
        before = latents.dtype
        if isinstance(scheduler, CogVideoXDPMScheduler):
            latents, earlier_estimate = scheduler.step(
                velocity, earlier_estimate, t, earlier, latents, **extra, return_dict=False
            )
        else:
            latents = scheduler.step(velocity, t, latents, **extra, return_dict=False)[0]
        latents, earlier = latents.to(before), t
        if progress is not None:
            progress(done, steps, {"timestep": int(t)})
    return latents


def make_scheduler(config: dict, name: str | None = None) -> CogVideoXDDIMScheduler | CogVideoXDPMScheduler:
    """A sampler of a configuration: "ddim", "dpm" or None, the class that the configuration names."""
    if name is not None and name not in SCHEDULERS:
        raise TrainingError(f"No scheduler named {name!r}: choose {' or '.join(SCHEDULERS)}.")
    kind = SCHEDULERS[name] if name else getattr(diffusers, config.get("_class_name", ""), None)
    if kind not in SCHEDULERS.values():
        raise TrainingError(
            f"The backbone's scheduler {config.get('_class_name')!r} is none of CogVideoX: choose 'ddim' or"
            " 'dpm'."
        )
    return kind.from_config(config)


def _dynamic(guidance: float, steps: int, timestep: float) -> float:
    """diffusers' `use_dynamic_cfg`: guidance along a cosine of the timestep."""
    return 1 + guidance * ((1 - math.cos(math.pi * ((steps - timestep) / steps) ** 5.0)) / 2)
