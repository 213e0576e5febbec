"""Training a small VAE of CogVideoX's class: reconstruct, with latents that a DiT can denoise."""

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    CogVideoXResnetBlock3D,
    CogVideoXSpatialNorm3D,
)
from torch import Tensor, nn

from training.pretrain.precision import Precision, computing

# Per latent value, against the mean absolute error per pixel value in [-1, 1]: the posterior keeps a standard
# deviation of roughly a tenth of the latents' own.
KL_WEIGHT = 3e-4


@torch.no_grad()
def start_plain(vae: AutoencoderKLCogVideoX) -> None:
    """Initial values from which a fresh VAE learns sooner.

    Every residual branch is silent and every spatial norm an ordinary one, and the posterior is narrow: with
    its usual width of 1 the decoder would see little but noise.
    """
    for module in vae.modules():
        if isinstance(module, CogVideoXResnetBlock3D):
            _constant(module.conv2.conv, 0)
        if isinstance(module, CogVideoXSpatialNorm3D):
            _constant(module.conv_y.conv, 1)
            _constant(module.conv_b.conv, 0)
    vae.encoder.conv_out.conv.bias[vae.config.latent_channels :] = -4


def _constant(conv: nn.Module, value: float) -> None:
    conv.weight.zero_()
    conv.bias.fill_(value)


def vae_loss(
    vae: AutoencoderKLCogVideoX, frames: Tensor, seed: int, precision: Precision = "bfloat16"
) -> Tensor:
    """Mean absolute error of frames [B, 3, n, H, W] in [-1, 1] through the VAE, plus a little KL.

    n = 4k + 1. `seed` decides the draw from the posterior.
    """
    with computing(frames.device, precision):
        posterior = vae.encode(frames).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)).to(mean.device)
        decoded = vae.decode(mean + (0.5 * logvar).exp() * noise).sample
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return (decoded.float() - frames).abs().mean() + KL_WEIGHT * divergence


@torch.no_grad()
def scale_latents(
    vae: AutoencoderKLCogVideoX, clips: Iterable[Tensor], precision: Precision = "bfloat16"
) -> float:
    """Set the VAE's scaling factor so that the latents of clips [3, n, H, W] get unit variance; return it."""
    with computing(vae.device, precision):
        latents = torch.cat([vae.encode(clip[None]).latent_dist.mode().flatten() for clip in clips])
    factor = round(1 / latents.float().std().item(), 4)
    vae.register_to_config(scaling_factor=factor)
    return factor


@torch.no_grad()
def reconstruction_psnr(
    vae: AutoencoderKLCogVideoX, clips: Iterable[Tensor], precision: Precision = "bfloat16"
) -> list[float]:
    """PSNR in dB, over all pixels, of each clip [3, n, H, W] in [-1, 1] through the posterior's mean."""
    found = []
    for clip in clips:
        with computing(clip.device, precision):
            decoded = vae.decode(vae.encode(clip[None]).latent_dist.mode()).sample[0, :, : clip.shape[1]]
        error = (decoded.float().clamp(-1, 1) - clip).square().mean()
        found.append((10 * torch.log10(4 / error)).item())
    return found
