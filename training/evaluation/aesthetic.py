"""Aesthetic quality (VBench): LAION's linear head on the CLIP ViT-L/14 vectors of all frames."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.evaluation.weights import load_tensors

WIDTH, SIZE = 768, 224
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def load_head(file: Path) -> nn.Linear:
    """The head, `weight` [1, 768] and `bias` [1], of a safetensors file.

    Raises:
        BadWeights: see `load_tensors`.
    """
    return load_tensors(nn.Linear(WIDTH, 1), file, "the aesthetic head")


def clip_pixels(frames: Tensor) -> Tensor:
    """uint8 [n, H, W, 3] → [n, 3, 224, 224] as CLIP reads them: bicubic without antialiasing, centre crop."""
    from torchvision.transforms.functional import InterpolationMode, center_crop, normalize, resize

    pixels = frames.permute(0, 3, 1, 2).float() / 255
    pixels = resize(pixels, [SIZE], interpolation=InterpolationMode.BICUBIC, antialias=False)
    return normalize(center_crop(pixels, [SIZE]), list(MEAN), list(DEVIATION))


@torch.no_grad()
def aesthetic(frames: Tensor, encode: Callable[[Tensor], Tensor], head: nn.Linear, batch: int = 32) -> float:
    """The mean over frames of the head's score / 10.

    Args:
        frames: uint8 [n, H, W, 3].
        encode: CLIP's picture tower, pixels [b, 3, 224, 224] → vectors [b, 768] of any length.
    """
    vectors = torch.cat([encode(part).float().cpu() for part in clip_pixels(frames).split(batch)])
    return float(head(F.normalize(vectors, dim=-1)).mean() / 10)
