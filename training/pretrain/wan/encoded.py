"""What a Wan is trained on, of clips: posteriors in the DiT's scale, first frames as Wan is given them."""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from training.pretrain.precision import Precision, computing
from training.pretrain.wan.vae import quick


@torch.no_grad()
def encode(
    vae: AutoencoderKLWan, frames: Tensor, numbers: Sequence[int], precision: Precision
) -> dict[str, Tensor]:
    """Of clips [B, 3, n, H, W]: mean, std and first [B, F, C, h, w], all normalised; `first` is the latents
    of the clean first frame with grey after it."""
    frames = frames.to(vae.device)
    grey = torch.cat([frames[:, :, :1], torch.zeros_like(frames[:, :, 1:])], dim=2)
    with computing(vae.device, precision), quick(vae):
        posterior = vae.encode(frames).latent_dist
        first = vae.encode(grey).latent_dist.mode()
    mean, deviation = (
        torch.tensor(vae.config[name], device=vae.device).view(1, -1, 1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    found = {
        "mean": (posterior.mean - mean) / deviation,
        "std": posterior.std / deviation,
        "first": (first - mean) / deviation,
    }
    return {name: value.transpose(1, 2).to(torch.bfloat16).contiguous() for name, value in found.items()}
