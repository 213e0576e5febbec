"""Training a small VAE of CogVideoX's class: initial values from which it learns sooner, and its scale."""

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    CogVideoXResnetBlock3D,
    CogVideoXSpatialNorm3D,
)
from torch import Tensor, nn

from training.pretrain.precision import Precision, computing


@torch.no_grad()
def start_plain(vae: AutoencoderKLCogVideoX) -> None:
    """Every residual branch is silent and every spatial norm an ordinary one, and the posterior is narrow:
    with its usual width of 1 the decoder would see little but noise."""
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
