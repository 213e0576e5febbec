"""I3D, the network whose Kinetics-400 logits FVD is taken of, and how videos are made ready for it.

Inception v1 with its filters inflated in time (Carreira and Zisserman 2017), its tensors named as in the
published PyTorch port (`Conv3d_1a_7x7.conv3d.weight`, `Mixed_3b.b1a.bn.running_mean`, `logits.conv3d.bias`)
and read from safetensors. The TorchScript archive that is often used instead is a program, and
`torch.jit.load` runs it: it is not read here. Its tensors, saved under these names by somebody who trusts it,
are.
"""

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.evaluation.weights import load_tensors

LOGITS, FEWEST, SIZE = 400, 10, 224
Resize = Literal["crop", "squash"]
RESIZES: dict[str, str] = {
    "crop": "short side to 224, centre crop",
    "squash": "both sides to 224, whatever the shape",
}
# Filters of each mixed block: 1×1; 1×1 then 3×3; 1×1 then 3×3; 1×1 after a pool.
MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
POOLED = {
    "Conv3d_1a_7x7": ((1, 3, 3), (1, 2, 2)),
    "Conv3d_2c_3x3": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3c": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4f": ((2, 2, 2), (2, 2, 2)),
}


class Unit(nn.Module):
    """A convolution with TensorFlow's SAME padding, a batch norm and a ReLU, or the convolution alone."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, bare: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inside, outside, kernel, stride, bias=bare)
        self.bn = None if bare else nn.BatchNorm3d(outside, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(same(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class Mixed(nn.Module):
    """Four branches beside each other, joined on the channels."""

    def __init__(self, inside: int, filters: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit(inside, filters[0], 1)
        self.b1a, self.b1b = Unit(inside, filters[1], 1), Unit(filters[1], filters[2], 3)
        self.b2a, self.b2b = Unit(inside, filters[3], 1), Unit(filters[3], filters[4], 3)
        self.b3b = Unit(inside, filters[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """Videos [B, 3, T ≥ 10, 224, 224] in [-1, 1] → logits [B, 400], their mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        for name, (inside, filters) in MIXED.items():
            self.add_module(name, Mixed(inside, filters))
        self.logits = Unit(1024, LOGITS, 1, bare=True)

    def forward(self, x: Tensor) -> Tensor:
        for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", *MIXED):
            x = self.get_submodule(name)(x)
            if name in POOLED:
                x = pool(x, *POOLED[name])
        return self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1)).flatten(2).mean(dim=2)


def build_i3d() -> I3D:
    """I3D without storage: names and shapes."""
    with torch.device("meta"):
        return I3D()


def load_i3d(file: Path, device: torch.device | str = "cpu") -> I3D:
    """I3D with the tensors of a safetensors file.

    Raises:
        BadWeights: see `load_tensors`.
    """
    return load_tensors(build_i3d(), file, "I3D").to(device)


@torch.no_grad()
def features(model: nn.Module, clips: Tensor, resize: Resize) -> Tensor:
    """Logits fp32 [B, 400] on the CPU of clips uint8 [B, T ≥ 10, H, W, 3].

    Raises:
        ValueError: fewer than ten frames, which I3D pools away to nothing.
    """
    device = next(model.parameters()).device
    return model(ready(clips.to(device), resize)).float().cpu()


def ready(clips: Tensor, resize: Resize) -> Tensor:
    """uint8 [B, T, H, W, 3] → [B, 3, T, 224, 224] in [-1, 1]; scaled before it is resized, as is usual."""
    batch, frames, height, width, _ = clips.shape
    if frames < FEWEST:
        raise ValueError(f"I3D reads {FEWEST} frames at least, and this video has {frames}.")
    pixels = clips.permute(0, 1, 4, 2, 3).reshape(batch * frames, 3, height, width).float() / 127.5 - 1
    if resize == "squash":
        pixels = F.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    else:
        scale = SIZE / min(height, width)
        to = (max(SIZE, round(height * scale)), max(SIZE, round(width * scale)))
        pixels = F.interpolate(pixels, size=to, mode="bilinear", align_corners=False)
        top, left = (to[0] - SIZE) // 2, (to[1] - SIZE) // 2
        pixels = pixels[..., top : top + SIZE, left : left + SIZE]
    return pixels.reshape(batch, frames, 3, SIZE, SIZE).transpose(1, 2).contiguous()


def same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around x [B, C, T, H, W], as TensorFlow's SAME has them: one more behind than before."""
    pads: list[int] = []
    for length, size, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        missing = max(size - (step if length % step == 0 else length % step), 0)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(x, pads)


def pool(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """The largest value, with SAME padding: zeros, for what comes in went through a ReLU."""
    return F.max_pool3d(same(x, kernel, stride), kernel, stride)
