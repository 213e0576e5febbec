"""What a CogVideoX is trained on, of clips: posteriors in the DiT's scale, and first frames noised."""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from training.backbones.cogvideox.pixels import first_frame_scale
from training.backbones.frames import noised_frame
from training.pretrain.precision import Precision, computing


@torch.no_grad()
def encode(
    vae: AutoencoderKLCogVideoX, frames: Tensor, numbers: Sequence[int], precision: Precision
) -> dict[str, Tensor]:
    """Of clips [B, 3, n, H, W]: mean and std [B, F, C, h, w] and first [B, C, h, w], the latents of first
    frames noised as CogVideoX-I2V trains with, by the clips' numbers."""
    scale = vae.config.scaling_factor
    image_scale = scale if first_frame_scale(vae.config) == "multiply" else 1 / scale
    noisy = torch.stack(
        [noised_frame(frame, number, 1) for frame, number in zip(frames[:, :, 0], numbers, strict=True)]
    )
    with computing(vae.device, precision):
        posterior = vae.encode(frames.to(vae.device)).latent_dist
        image = vae.encode(noisy.to(vae.device)[:, :, None]).latent_dist.mode()[:, :, 0]
    return {
        "mean": (posterior.mean * scale).transpose(1, 2).to(torch.bfloat16).contiguous(),
        "std": (posterior.std * scale).transpose(1, 2).to(torch.bfloat16).contiguous(),
        "first": (image * image_scale).to(torch.bfloat16),
    }
