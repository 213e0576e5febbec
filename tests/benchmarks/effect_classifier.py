"""A small 3-D convnet that names a clip's effect: trained on real renders, asked about generated ones."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.samples.effects import EFFECTS
from tests.benchmarks.effect_clips import HEIGHT, TEST_FROM, TRAIN_FROM, WIDTH, chosen_frames, render
from training.randomness import stream

NAMES = tuple(EFFECTS)


class EffectNet(nn.Module):
    """Frames [B, 3, 17, 32, 48] in [-1, 1] → logits [B, effects]. It also sees what changed since frame 0."""

    def __init__(self, effects: int, width: int = 24) -> None:
        super().__init__()
        widths = (6, width, 2 * width, 4 * width)
        self.blocks = nn.Sequential(
            *(
                layer
                for inside, outside in pairwise(widths)
                for layer in (
                    nn.Conv3d(inside, outside, 3, stride=2, padding=1),
                    nn.GroupNorm(4, outside),
                    nn.GELU(),
                    nn.Conv3d(outside, outside, 3, padding=1),
                    nn.GroupNorm(4, outside),
                    nn.GELU(),
                )
            )
        )
        # Where and when a thing happens tells pans and tilts apart, so a little of the grid is kept.
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(widths[-1] * 2 * 2 * 3, effects))

    def forward(self, frames: Tensor) -> Tensor:
        change = frames - frames[:, :, :1]
        features = self.blocks(torch.cat([frames, change], dim=1))
        return self.head(F.adaptive_avg_pool3d(features, (2, 2, 3)).flatten(1))


def to_classifier(frames: np.ndarray | Tensor) -> Tensor:
    """uint8 frames [49, H, W, 3] → [3, 17, 32, 48] in [-1, 1]: every third frame, area-averaged."""
    return _averaged(torch.as_tensor(np.asarray(frames)[chosen_frames(len(frames))]))


def renders(first: int, count: int, names: Sequence[str] = NAMES) -> tuple[Tensor, Tensor]:
    """Clips `first` … of the endless series that walks through `names`, and the indices of their effects."""
    indices = [number % len(names) for number in range(first, first + count)]
    clips = [render(names[index], first + place) for place, index in enumerate(indices)]
    return torch.from_numpy(np.stack(clips)), torch.tensor(indices)


def train_classifier(
    per_effect: int = 40,
    epochs: int = 12,
    batch: int = 32,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    model: nn.Module | None = None,
    clips: tuple[Tensor, Tensor] | None = None,
    device: torch.device | str = "cpu",
    seconds: float = float("inf"),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> nn.Module:
    """Fit on `per_effect` renders of each of the `names`, with some noise.

    Args:
        model: a net to train instead of a new one.
        clips: take these, and the indices of their effects, instead of rendering.
        seconds: train no longer; the learning rate falls to nothing by then.
    """
    frames_of, labels = clips or renders(TRAIN_FROM, per_effect * len(names), names)
    frames_of, labels = frames_of.to(device), labels.to(device)
    torch.manual_seed(seed)
    model = (model or EffectNet(len(names))).to(device).train()
    steps = epochs * len(labels) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    step, began = 0, time.monotonic()
    while step < steps:
        draw = stream(step, f"classifier {seed}")
        chosen = torch.from_numpy(draw.integers(len(labels), size=batch)).to(device)
        frames = signed(frames_of[chosen])
        frames = frames + 0.08 * float(draw.random()) * torch.randn_like(frames)
        # On a GPU only: where a CPU has no bfloat16 of its own, convolutions in it take ten times as long.
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=frames.is_cuda):
            loss = F.cross_entropy(model(frames), labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        # Where time runs out before the steps do, steps are left out of the schedule.
        due = int(steps * (time.monotonic() - began) / seconds)
        step = min(steps, max(step, due))
        while schedule.last_epoch < step:
            schedule.step()
        progress(step, steps)
    return model.eval()


@torch.no_grad()
def predictions(model: nn.Module, clips: Tensor) -> Tensor:
    """Index of the most likely effect of each clip [n, 3, 17, 32, 48]: int64 [n], where the clips are."""
    device = next(model.parameters()).device
    found = [model(signed(chunk.to(device))).argmax(dim=1) for chunk in clips.split(64)]
    return torch.cat(found).to(clips.device)


def held_out_accuracy(model: nn.Module, per_effect: int = 8) -> float:
    """Share of real renders, of scenes that were not trained on, whose effect it names."""
    clips, labels = renders(TEST_FROM, per_effect * len(EFFECTS))
    return (predictions(model, clips) == labels).float().mean().item()


def signed(clips: Tensor) -> Tensor:
    """uint8 → [-1, 1]; what is in [-1, 1] already stays."""
    return clips.float() / 127.5 - 1 if clips.dtype == torch.uint8 else clips


def _averaged(frames: Tensor) -> Tensor:
    """uint8 [17, H, W, 3] → [3, 17, 32, 48] in [-1, 1]."""
    video = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(video, size=(HEIGHT, WIDTH), mode="area").transpose(0, 1).contiguous()
