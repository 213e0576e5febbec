"""Between pixels and latents: resizing, the VAE's scales, the noise of the first frame."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from training.backbones.geometry import SampleGeometry
from training.backbones.settings import FirstFrameScale
from training.errors import BadBatch, InvalidGeometry
from training.randomness import normal, stream


def to_signed(pixels: np.ndarray | Tensor, geometry: SampleGeometry) -> Tensor:
    """Frames [n, H, W, 3], uint8 or floating in [0, 1], → fp32 [n, 3, height, width] in [-1, 1].

    Resized frame by frame (antialiased bilinear), so that a long clip is never held twice in floating point.

    Raises:
        BadBatch: not [n, H, W, 3].
    """
    frames = torch.as_tensor(pixels)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise BadBatch(f"Pixels must be frames [n, H, W, 3]; these are {tuple(frames.shape)}.")
    size = (geometry.height, geometry.width)
    out = torch.empty(len(frames), 3, *size)
    for index, frame in enumerate(frames):
        value = frame.permute(2, 0, 1).float()
        value = value / 255 if frames.dtype == torch.uint8 else value
        if value.shape[1:] != size:
            value = F.interpolate(value[None], size=size, mode="bilinear", antialias=True)[0]
        out[index] = value * 2 - 1
    return out


def fit_frames(count: int, geometry: SampleGeometry) -> list[int]:
    """Which of `count` frames a sample takes: spread over all when there are more than it has, else the first
    4k + 1 (a shorter clip makes a shorter, zero-padded reference)."""
    if count >= geometry.num_frames:
        return np.linspace(0, count - 1, geometry.num_frames).round().astype(int).tolist()
    return list(range((count - 1) // 4 * 4 + 1))


@torch.no_grad()
def encode_video(vae: AutoencoderKLCogVideoX, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [n, 3, H, W] in [-1, 1] → mean and std of the posterior, scaled, [F, C, h, w]."""
    posterior = _encode(vae, frames)
    scale = vae.config.scaling_factor
    return tuple((value * scale)[0].transpose(0, 1).contiguous() for value in (posterior.mean, posterior.std))


def first_frame_scale(vae_config: Mapping) -> FirstFrameScale:
    """What a VAE's configuration says is done to the first frame's latents.

    CogVideoX-5B-I2V's multiplies like those of the video, 1.5's divides. For 1.5 the field found that neither
    is what was trained (zai-org/CogVideo#761), so `BackboneSettings.first_frame_scale` goes before it.
    """
    return "divide" if vae_config.get("invert_scale_latents") else "multiply"


@torch.no_grad()
def encode_image(
    vae: AutoencoderKLCogVideoX,
    frame: Tensor,
    generator: torch.Generator | None = None,
    scale: FirstFrameScale | None = None,
) -> Tensor:
    """One frame [3, H, W] in [-1, 1] → latents [C, h, w] in the scale that the DiT's image channels take.

    The posterior's mean, or a draw from `generator` as diffusers' pipeline makes it; scaled as the VAE's
    configuration says where `scale` is None.
    """
    posterior = _encode(vae, frame[None])
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    factor = vae.config.scaling_factor
    factors = {"multiply": factor, "divide": 1 / factor, "none": 1.0}
    return (factors[scale or first_frame_scale(vae.config)] * latents)[0, :, 0]


@torch.no_grad()
def decode_video(vae: AutoencoderKLCogVideoX, latents: Tensor) -> Tensor:
    """Latents [F, C, h, w] as the DiT has them → uint8 frames [n, H, W, 3]."""
    weight = vae.encoder.conv_in.conv.weight
    count = (len(latents) - 1) * vae.config.temporal_compression_ratio + 1
    # The decoder works on an odd number of latent frames: from an even one it makes three frames too many.
    latents = latents if len(latents) % 2 else torch.cat([latents, latents[-1:]])
    scaled = 1 / vae.config.scaling_factor * latents.to(weight.device, weight.dtype).transpose(0, 1)[None]
    video = vae.decode(_not_alone(scaled)).sample[0, :, :count].permute(1, 2, 3, 0)
    return ((video / 2 + 0.5).clamp(0, 1).float() * 255).round().to("cpu", torch.uint8)


def noised_frame(frame: Tensor, seed: int, variant: int) -> Tensor:
    """A frame [3, H, W] with Gaussian noise of σ = exp(N(-3, 0.5)), as CogVideoX-I2V trains with."""
    sigma = float(np.exp(stream(seed, f"frame-sigma-{variant}").normal(-3.0, 0.5)))
    return frame + sigma * normal(seed, f"frame-noise-{variant}", frame.shape).to(frame.device)


def enable_tiling(vae: AutoencoderKLCogVideoX, geometry: SampleGeometry) -> None:
    """Encode and decode in overlapping tiles.

    Raises:
        InvalidGeometry: at this size the tiles would not join to latents of the right shape (480×720 does).
    """
    vae.enable_tiling()
    spatial = vae.tile_sample_min_height // vae.tile_latent_min_height
    for axis in ("height", "width"):
        size = getattr(geometry, axis)
        tile, latent = getattr(vae, f"tile_sample_min_{axis}"), getattr(vae, f"tile_latent_min_{axis}")
        overlap = getattr(vae, f"tile_overlap_factor_{axis}")
        stride = int(tile * (1 - overlap))
        kept = latent - int(latent * overlap)
        last = (size - 1) % stride + 1
        if size > tile and (stride != kept * spatial or last < 2 * spatial):
            raise InvalidGeometry(
                f"vae_tiling cannot cut {geometry.height}×{geometry.width} into tiles that join: switch it"
                " off, or use 480×720."
            )


def _encode(vae: AutoencoderKLCogVideoX, frames: Tensor) -> DiagonalGaussianDistribution:
    weight = vae.encoder.conv_in.conv.weight
    video = frames.to(weight.device, weight.dtype).transpose(0, 1)[None]
    return DiagonalGaussianDistribution(vae.encode(_not_alone(video)).latent_dist.parameters[:1])


def _not_alone(batch: Tensor) -> Tensor:
    """A batch of one, doubled on a CPU in fp32: there torch leaves small convolutions over a single sample
    to a loop of its own, which takes nearly three times as long as oneDNN takes for two."""
    alone = (
        batch.device.type == "cpu" and batch.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    )
    return batch.expand(2, *batch.shape[1:]) if alone else batch
