"""Denoising: first frame, prompt and adapter to frames, as diffusers' pipelines do it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from training.backbones.base import Backbone, Sampler, Scene, Velocity
from training.errors import TrainingError
from training.methods.base import Condition, Method, device_of
from training.progress import Progress


@dataclass(frozen=True)
class Guidance:
    """How far a step is led away from the negative prompt, and from what the backbone does by itself.

    With v = v(prompt, adapter), prompt guidance w and adapter guidance a the step takes

        v + (w - 1) (v - v(negative, adapter)) + (a - 1) (v - v(prompt, none))

    Attributes:
        prompt: classifier-free guidance; 1 or less runs the prompt alone, in half the time.
        dynamic: lead by the prompt along a curve of the timestep, as the sampler has it.
        adapter: 1 takes the adapter as it is; each other value costs one more forward a step.
        without_adapter: opens the backbone as it was frozen; None where there is no adapter to lead to.
    """

    prompt: float = 6.0
    dynamic: bool = False
    adapter: float = 1.0
    without_adapter: Callable[[], AbstractContextManager[Velocity]] | None = None


def generate(
    backbone: Backbone,
    method: Method | None,
    condition: Condition | None,
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
    """One video from its first frame, under one condition: `sample`, decoded.

    Returns:
        uint8 frames [n, height, width, 3] at the backbone's sample geometry, on the CPU.

    Raises:
        TrainingError: see `sample`.
    """
    latents = sample(
        backbone,
        method,
        condition,
        first_frame_pixels,
        prompt,
        steps,
        guidance,
        seed,
        progress,
        negative_prompt=negative_prompt,
        scheduler=scheduler,
        dynamic_guidance=dynamic_guidance,
        adapter_guidance=adapter_guidance,
    )
    return backbone.decode(latents)


def sample(
    backbone: Backbone,
    method: Method | None,
    condition: Condition | None,
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
    """The latents of one video, for `Backbone.decode`.

    Args:
        backbone: loaded with "vae", "text" and "transformer" (the last may be the one that `method` adapted).
        method: what the condition belongs to; None runs the backbone as it is.
        condition: of one sample (`Method.condition`); None leaves the backbone frozen.
        first_frame_pixels: [H, W, 3], uint8 or floating in [0, 1].
        guidance, dynamic_guidance, adapter_guidance: `prompt`, `dynamic` and `adapter` of `Guidance`.
        seed: of everything drawn; it gives what diffusers' pipeline gives for a CPU generator of that seed.
        progress: called after every step with (steps done, steps, {"timestep": t, "clean": f}), where f()
            is what the step says of the clean latents, [1, F, C, h, w]. What it raises ends the generation.
        scheduler: a sampler's name, or None, the one that the backbone's configuration names.

    Returns:
        [F, C, h, w], as the backbone denoises them.

    Raises:
        TrainingError: latents that are no finite numbers, a condition without a method, steps below 1, or an
            unknown scheduler.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    frame = backbone.draw_first_frame(first_frame_pixels, generator)
    return sample_shown(
        backbone,
        method,
        condition,
        frame,
        prompt,
        steps,
        guidance,
        generator,
        progress,
        negative_prompt=negative_prompt,
        sampler=backbone.sampler(scheduler),
        dynamic_guidance=dynamic_guidance,
        adapter_guidance=adapter_guidance,
    )


def sample_shown(
    backbone: Backbone,
    method: Method | None,
    condition: Condition | None,
    shown: Tensor,
    prompt: str,
    steps: int,
    guidance: float,
    generator: torch.Generator,
    progress: Progress | None = None,
    *,
    kept: Tensor | None = None,
    negative_prompt: str = "",
    sampler: Sampler | None = None,
    dynamic_guidance: bool = False,
    adapter_guidance: float = 1.0,
) -> Tensor:
    """The latents of one video from what the backbone is shown, encoded; for all else see `sample`.

    Args:
        shown: of one sample, what `Backbone.encode_first_frame` or `encode_shown` makes.
        generator: of everything drawn from here on.
        kept: what of a shown video is preserved, [F, ratio, h, w]; None: the first frame.
    """
    if condition is not None and method is None:
        raise TrainingError(
            "An adapter needs the method it was predicted by: pass the model together with it."
        )
    device = next(backbone.dit.module.parameters()).device if method is None else device_of(method)
    text = backbone.encode_text([prompt]).to(device)
    negative = backbone.encode_text([negative_prompt]).to(device) if guidance > 1 else None
    noise = backbone.draw_noise(generator, text.dtype, device)
    bare = None if method is None or condition is None else lambda: method.under(None)
    led = Guidance(guidance, dynamic_guidance, adapter_guidance, bare)
    opened = nullcontext(backbone.dit.velocity) if method is None else method.under(condition)
    with opened as velocity:
        preserved = None if kept is None else kept[None].to(device)
        scene = Scene(shown[None].to(device, text.dtype), text, kept=preserved)
        chosen = sampler or backbone.sampler()
        latents = denoise(velocity, chosen, noise, scene, steps, led, negative, generator, progress)[0]
    if not latents.isfinite().all():
        raise TrainingError(
            "Denoising ended in values that are no finite numbers: the weights or the adapter hold such"
            " values, or guidance or strength is far too high."
        )
    return latents


@torch.no_grad()
def denoise(
    velocity: Velocity,
    sampler: Sampler,
    noise: Tensor,
    scene: Scene,
    steps: int,
    guidance: Guidance,
    negative: Tensor | None = None,
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Denoise standard normal noise to latents, both [B, F, C, h, w].

    Args:
        negative: text embeddings [B, T, D] of the negative prompts; needed with prompt guidance above 1.

    Raises:
        TrainingError: steps below 1, or guidance without negative prompts.
    """
    if steps < 1:
        raise TrainingError(f"{steps} denoising steps make no video: ask for 1 at least (50 is usual).")
    guided, size = guidance.prompt > 1, len(noise)
    if guided and (negative is None or len(negative) != size):
        raise TrainingError(
            f"Guidance {guidance.prompt} needs the text embeddings of {size} negative prompts; there are"
            f" {0 if negative is None else len(negative)}."
        )
    asked = scene
    if guided:
        asked = Scene(
            torch.cat([scene.first_frame] * 2),
            torch.cat([negative, scene.text]),
            negatives=size,
            kept=None if scene.kept is None else torch.cat([scene.kept] * 2),
        )
    latents = sampler.begin(noise, steps)
    for done, t in enumerate(sampler.timesteps, start=1):
        noisy = sampler.scaled(torch.cat([latents] * (2 if guided else 1)), t)
        predicted = velocity(noisy, t.expand(len(noisy)), asked).float()
        plain = led = predicted[-size:]
        if guided:
            weight = sampler.dynamic(guidance.prompt, t) if guidance.dynamic else guidance.prompt
            led = predicted[:size] + weight * (plain - predicted[:size])
        if guidance.adapter != 1 and guidance.without_adapter is not None:
            with guidance.without_adapter() as frozen:
                bare = frozen(noisy[-size:], t.expand(size), scene).float()
            led = led + (guidance.adapter - 1) * (plain - bare)
        before, latents = latents, sampler.step(led, t, latents, generator)
        if progress is not None:
            clean = partial(sampler.clean, led, t, before)
            progress(done, steps, {"timestep": int(t), "clean": clean})
    return latents
