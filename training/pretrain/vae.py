"""Training a small VAE of any family: reconstruct, with latents that a DiT can denoise."""

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from torch import Tensor

from training.pretrain.precision import Precision, computing

VAE = AutoencoderKLCogVideoX | AutoencoderKLWan
# Per latent value, against the mean absolute error per pixel value in [-1, 1]: the posterior keeps a standard
# deviation of roughly a tenth of the latents' own.
KL_WEIGHT = 3e-4


def vae_loss(vae: VAE, frames: Tensor, seed: int, precision: Precision = "bfloat16") -> Tensor:
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
def reconstruction_psnr(vae: VAE, clips: Iterable[Tensor], precision: Precision = "bfloat16") -> list[float]:
    """PSNR in dB, over all pixels, of each clip [3, n, H, W] in [-1, 1] through the posterior's mean."""
    found = []
    for clip in clips:
        with computing(clip.device, precision):
            decoded = vae.decode(vae.encode(clip[None]).latent_dist.mode()).sample[0, :, : clip.shape[1]]
        error = (decoded.float().clamp(-1, 1) - clip).square().mean()
        found.append((10 * torch.log10(4 / error)).item())
    return found
