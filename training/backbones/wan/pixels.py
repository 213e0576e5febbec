"""Between frames and latents: Wan's VAE, whose latents are brought to mean 0 and deviation 1 by channel."""

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel


def _moments(vae: AutoencoderKLWan, like: Tensor) -> tuple[Tensor, Tensor]:
    """The published mean and deviation of the latents [C, 1, 1, 1] (C, F, h, w)."""
    values = (torch.tensor(vae.config[name]) for name in ("latents_mean", "latents_std"))
    mean, deviation = (value.view(-1, 1, 1, 1).to(like) for value in values)
    return mean, deviation


@torch.no_grad()
def encode_video(vae: AutoencoderKLWan, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [n, 3, H, W] in [-1, 1] → mean and std of the posterior, normalised, [F, C, h, w]."""
    weight = vae.encoder.conv_in.weight
    posterior = vae.encode(frames.to(weight.device, weight.dtype).transpose(0, 1)[None]).latent_dist
    mean, deviation = _moments(vae, posterior.mean)
    found = (posterior.mean[0] - mean) / deviation, posterior.std[0] / deviation
    latents, std = (value.transpose(0, 1).contiguous() for value in found)
    return latents, std


def encode_condition(vae: AutoencoderKLWan, frame: Tensor, count: int) -> Tensor:
    """One frame [3, H, W] in [-1, 1] and grey after it, `count` frames in all → latents [F, C, h, w]."""
    video = torch.cat([frame[None], frame.new_zeros(count - 1, *frame.shape)])
    return encode_video(vae, video)[0]


@torch.no_grad()
def decode_video(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Latents [F, C, h, w] as the DiT has them → uint8 frames [n, H, W, 3]."""
    weight = vae.encoder.conv_in.weight
    given = latents.to(weight.device, weight.dtype).transpose(0, 1)
    mean, deviation = _moments(vae, given)
    video = vae.decode((given * deviation + mean)[None]).sample[0].permute(1, 2, 3, 0)
    return ((video / 2 + 0.5).clamp(0, 1).float() * 255).round().to("cpu", torch.uint8)


@torch.no_grad()
def image_state(encoder: CLIPVisionModel, processor: CLIPImageProcessor, frame: Tensor) -> Tensor:
    """The state before the last layer of CLIP's image encoder, [tokens, width], of a frame in [-1, 1]."""
    pixels = ((frame.float().cpu() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    given = processor(images=np.asarray(pixels.permute(1, 2, 0)), return_tensors="pt")["pixel_values"]
    states = encoder(given.to(encoder.device, encoder.dtype), output_hidden_states=True).hidden_states
    state: Tensor = states[-2][0]
    return state
