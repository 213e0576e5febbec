"""Subject consistency (VBench): how like the one before it and the first each frame is, to DINO ViT-B/16."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.evaluation.weights import load_tensors

SIZE, PATCH = 224, 16
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def consistency(vectors: Tensor) -> float:
    """The mean over frames t > 0 of (cos(t, t - 1) + cos(t, 0)) / 2, each cosine at least 0.

    Args:
        vectors: of the frames [n, D], of any length; one frame alone is consistent, 1.
    """
    if len(vectors) < 2:
        return 1.0
    unit = F.normalize(vectors.float(), dim=-1)
    before = (unit[1:] * unit[:-1]).sum(dim=-1).clamp(min=0)
    first = (unit[1:] * unit[:1]).sum(dim=-1).clamp(min=0)
    return float(((before + first) / 2).mean())


def build_dino() -> nn.Module:
    """timm's ViT-B/16 without head and without storage: names and shapes."""
    import timm

    with torch.device("meta"):
        return timm.create_model(
            "vit_base_patch16_224", pretrained=False, num_classes=0, dynamic_img_size=True
        )


def load_dino(file: Path, device: torch.device | str = "cpu") -> nn.Module:
    """timm's ViT-B/16 with the tensors of a safetensors file, named as timm names them.

    Raises:
        BadWeights: see `load_tensors`.
    """
    return load_tensors(build_dino(), file, "DINO ViT-B/16").to(device)


def dino_pixels(frames: Tensor) -> Tensor:
    """uint8 [n, H, W, 3] → [n, 3, h, w], short side 224, without antialiasing; what no whole patch covers is
    cut off."""
    from torchvision.transforms.functional import normalize, resize

    pixels = resize(frames.permute(0, 3, 1, 2).float() / 255, [SIZE], antialias=False)
    height, width = (side // PATCH * PATCH for side in pixels.shape[-2:])
    return normalize(pixels[..., :height, :width], list(MEAN), list(DEVIATION))


@torch.no_grad()
def frame_vectors(model: nn.Module, frames: Tensor, batch: int = 32) -> Tensor:
    """DINO's vectors [n, 768] of frames uint8 [n, H, W, 3]."""
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).float().cpu() for part in dino_pixels(frames).split(batch)])
