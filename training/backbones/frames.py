"""Frames as a VAE takes them: resized, signed, chosen from a clip; and the noise of a first frame."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.backbones.geometry import SampleGeometry
from training.errors import BadBatch
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


def noised_frame(frame: Tensor, seed: int, variant: int) -> Tensor:
    """A frame [3, H, W] with Gaussian noise of σ = exp(N(-3, 0.5)), as CogVideoX-I2V trains with."""
    sigma = float(np.exp(stream(seed, f"frame-sigma-{variant}").normal(-3.0, 0.5)))
    return frame + sigma * normal(seed, f"frame-noise-{variant}", frame.shape).to(frame.device)


def not_alone(batch: Tensor) -> Tensor:
    """A batch of one, doubled on a CPU in fp32: there torch leaves small convolutions over a single sample
    to a loop of its own, which takes nearly three times as long as oneDNN takes for two."""
    alone = (
        batch.device.type == "cpu" and batch.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    )
    return batch.expand(2, *batch.shape[1:]) if alone else batch
