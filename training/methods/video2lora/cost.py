"""What predicting adapters costs: floating-point operations and values kept, from the settings alone."""

from collections.abc import Sequence
from math import ceil, prod

from training.methods.video2lora.settings import Video2LoRASettings


def hypernetwork_flops(settings: Video2LoRASettings, layers: int, latent_shape: Sequence[int]) -> float:
    """Forward and backward of predicting the adapters of `layers` linears from one reference [F, C, h, w]."""
    video, width = _tokens(settings, latent_shape), settings.width
    values = settings.rank * (settings.down_size + settings.up_size)
    inputs = (1 + settings.motion) * latent_shape[1] * prod(settings.patch)
    project = 2 * video * inputs * width
    looking = settings.video_layers * ((8 + 16) * video * width**2 + 4 * video**2 * width)
    keys_values = settings.layers * 2 * 2 * video * width**2
    linears = (8 + 4 + 16) * layers * width**2  # of self-attention, cross-attention, feed-forward
    attention = 4 * layers * (layers + video) * width
    ends = 2 * 2 * layers * values * width  # embed and head
    passes = settings.refinements * (settings.layers * (linears + attention) + ends)
    total = 3 * (project + looking + keys_values + passes) - project
    if settings.gradient_refinement:
        # The gradients that are embedded need none themselves; θ⁰ is learned.
        return float(total + 2 * settings.refinements * ends / 2)
    # θ⁰ needs no gradient.
    return float(total - ends / 2)


def hypernetwork_kept_values(
    settings: Video2LoRASettings, layers: int, latent_shape: Sequence[int], scores: bool
) -> int:
    """Values kept for the backward pass of one reference.

    Keys and values of the reference and about thirty tensors of weight tokens, per block and pass; about
    sixteen tensors of video tokens per video block; with `scores` those of `attention`, held on a CPU.
    """
    cells = _tokens(settings, latent_shape)
    passes = settings.layers * settings.refinements
    tokens = cells * (6 + 2 * passes + 16 * settings.video_layers) + layers * 30 * passes
    held = layers * (layers + cells) * passes + cells * cells * settings.video_layers
    return settings.width * tokens + (settings.heads * held if scores else 0)


def _tokens(settings: Video2LoRASettings, latent_shape: Sequence[int]) -> int:
    """Video tokens of one reference."""
    frames, _, height, width = latent_shape
    return prod(
        ceil(size / patch) for size, patch in zip((frames, height, width), settings.patch, strict=True)
    )
