"""Dynamic degree (VBench): the share of clips in which something moves, by RAFT's optical flow."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.evaluation.weights import load_tensors

UPDATES = 20
RATE = 8  # frames a second at which VBench looks
# RAFT's correlation pyramid has four levels above an eighth of the picture: fewer pixels it cannot read.
SMALLEST = 128


def sampled(frames: int, fps: float) -> range:
    """Which frames are looked at: as near to 8 a second as whole steps allow."""
    return range(0, frames, max(1, round(fps / RATE)))


def is_dynamic(flows: Tensor, frames: int) -> bool:
    """Whether a clip moves, of the flow between neighbours of its sampled frames.

    A pair moves when the mean of the largest 5 % of |flow| exceeds 6 min(H, W) / 256 pixels; a clip, when at
    least round(4 n / 16) of its pairs do, n being the number of sampled frames (not of pairs).

    Args:
        flows: [n - 1, 2, H, W], in pixels.
        frames: n.
    """
    height, width = flows.shape[-2:]
    speeds = flows.float().norm(dim=1).flatten(1)
    largest = speeds.topk(max(1, int(height * width * 0.05)), dim=1).values.mean(dim=1)
    moving = int((largest > 6 * min(height, width) / 256).sum())
    return moving >= round(4 * frames / 16)


def build_raft() -> nn.Module:
    """torchvision's large RAFT without storage: names and shapes."""
    from torchvision.models.optical_flow import raft_large

    with torch.device("meta"):
        return raft_large(weights=None)


def load_raft(file: Path, device: torch.device | str = "cpu") -> nn.Module:
    """torchvision's large RAFT with the tensors of a safetensors file, named as torchvision names them.

    Raises:
        BadWeights: see `load_tensors`.
    """
    return load_tensors(build_raft(), file, "RAFT (large)").to(device)


@torch.no_grad()
def flows(model: nn.Module, frames: Tensor, batch: int = 4) -> Tensor:
    """Flow [n - 1, 2, H, W] in pixels between neighbours of frames uint8 [n, H, W, 3].

    RAFT reads sides that 8 divides, of 128 pixels at least: pictures are padded by their own edges, and what
    flows there is cut off.
    """
    device = next(model.parameters()).device
    pixels = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    height, width = pixels.shape[-2:]
    tall, wide = (max(SMALLEST, -(-side // 8) * 8) for side in (height, width))
    top, left = (tall - height) // 2, (wide - width) // 2
    padded = F.pad(pixels, (left, wide - width - left, top, tall - height - top), mode="replicate")
    found = []
    for first, second in zip(padded[:-1].split(batch), padded[1:].split(batch), strict=True):
        flow = model(first.to(device), second.to(device), num_flow_updates=UPDATES)[-1]
        found.append(flow[..., top : top + height, left : left + width].float().cpu())
    return torch.cat(found)
