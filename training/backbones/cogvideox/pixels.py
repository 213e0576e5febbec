"""Between frames and latents: the VAE's scales and tiles."""

from collections.abc import Mapping

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from training.backbones.frames import not_alone
from training.backbones.geometry import SampleGeometry
from training.backbones.settings import FirstFrameScale
from training.errors import InvalidGeometry


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
    video = vae.decode(not_alone(scaled)).sample[0, :, :count].permute(1, 2, 3, 0)
    return ((video / 2 + 0.5).clamp(0, 1).float() * 255).round().to("cpu", torch.uint8)


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
    return DiagonalGaussianDistribution(vae.encode(not_alone(video)).latent_dist.parameters[:1])
