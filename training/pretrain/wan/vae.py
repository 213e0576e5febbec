"""Training a small VAE of Wan's class: initial values from which it learns sooner, quick single frames."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import MethodType

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
    WanRMS_norm,
)
from torch import Tensor

from training.pretrain.precision import Precision, computing


@torch.no_grad()
def start_plain(vae: AutoencoderKLWan) -> None:
    """Every residual branch is silent, every frame stands for itself (no weight looks back in time; halving
    is a mean, doubling a copy), and the posterior is narrow: with its usual width of 1 the decoder would see
    little but noise."""
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d) and module.kernel_size[0] == 3:
            module.weight[:, :, :-1] = 0
        if isinstance(module, WanResidualBlock):
            _constant(module.conv2)
        if isinstance(module, WanResample) and hasattr(module, "time_conv"):
            _constant(module.time_conv)
            weight, taps = module.time_conv.weight, (-2, -1) if module.mode == "downsample3d" else (-1,)
            for tap in taps:
                weight[:, :, tap, 0, 0] = torch.eye(module.dim).repeat(len(weight) // module.dim, 1) / len(
                    taps
                )
    channels = vae.config.z_dim
    for conv in (vae.quant_conv, vae.post_quant_conv):
        _constant(conv)
        conv.weight[:channels, :channels, 0, 0, 0] = torch.eye(channels)
    vae.quant_conv.bias[channels:] = -4
    # The decoder's output is clamped to [-1, 1], beyond which nothing is learned.
    vae.decoder.conv_out.weight *= 0.1


def _constant(conv: torch.nn.Module) -> None:
    conv.weight.zero_()
    conv.bias.zero_()


@contextmanager
def quick(vae: AutoencoderKLWan) -> Iterator[None]:
    """Inside it the VAE computes the same in less time on a CPU: where a convolution has no past, only the
    newest slice of its weights meets anything but zeros, so it is one of two dimensions; and a norm takes
    three passes instead of eight."""
    changed = [module for module in vae.modules() if isinstance(module, WanCausalConv3d | WanRMS_norm)]
    for module in changed:
        module.forward = MethodType(_conv if isinstance(module, WanCausalConv3d) else _norm, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _conv(self: WanCausalConv3d, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
    if x.size(2) > 1 or cache_x is not None or self.stride != (1, 1, 1):
        return WanCausalConv3d.forward(self, x, cache_x)
    frames = x.squeeze(2).contiguous(memory_format=torch.channels_last)
    padding = (self._padding[2], self._padding[0])
    return F.conv2d(frames, self.weight[:, :, -1], self.bias, padding=padding).unsqueeze(2)


def _norm(self: WanRMS_norm, x: Tensor) -> Tensor:
    length = x.float().square().sum(1, keepdim=True).clamp_min(1e-24)
    return x * length.rsqrt().to(x.dtype) * (self.gamma * self.scale).to(x.dtype)


@torch.no_grad()
def normalise_latents(
    vae: AutoencoderKLWan, clips: Iterable[Tensor], precision: Precision = "bfloat16"
) -> tuple[list[float], list[float]]:
    """Set mean and deviation of each latent channel in the VAE's configuration to those of the latents of
    clips [3, n, H, W]; return them."""
    with computing(vae.device, precision):
        latents = [vae.encode(clip[None]).latent_dist.mode()[0].flatten(1) for clip in clips]
    std, mean = torch.std_mean(torch.cat(latents, dim=1).float(), dim=1)
    facts = {"latents_mean": mean, "latents_std": std}
    rounded = {name: [round(value, 4) for value in values.tolist()] for name, values in facts.items()}
    vae.register_to_config(**rounded)
    return rounded["latents_mean"], rounded["latents_std"]
