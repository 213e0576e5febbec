"""Effect accuracy: does a 3-D convnet, trained on real clips, find the reference's effect in a made one?"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.backbones.hub import first_line
from training.evaluation.seen_frames import HEIGHT, WIDTH, chosen_frames
from training.evaluation.weights import BadWeights, load_tensors
from training.files import written
from training.randomness import stream

NAMES = "effects"


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
    """uint8 frames [n, H, W, 3] → [3, 17, 32, 48] in [-1, 1]: 17 of the frames, area-averaged."""
    seen = torch.as_tensor(np.asarray(frames)[chosen_frames(len(frames))])
    video = seen.permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(video, size=(HEIGHT, WIDTH), mode="area").transpose(0, 1).contiguous()


def train_classifier(
    clips: tuple[Tensor, Tensor],
    effects: int,
    epochs: int = 12,
    batch: int = 32,
    seed: int = 0,
    model: nn.Module | None = None,
    device: torch.device | str = "cpu",
    seconds: float = float("inf"),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> nn.Module:
    """Fit on clips, with some noise.

    Args:
        clips: uint8 or in [-1, 1], [n, 3, 17, 32, 48] (see `to_classifier`); the indices of their effects.
        effects: how many there are.
        model: a net to train instead of a new one.
        seconds: train no longer; the learning rate falls to nothing by then.
    """
    frames_of, labels = (each.to(device) for each in clips)
    torch.manual_seed(seed)
    model = (model or EffectNet(effects)).to(device).train()
    steps = max(1, epochs * len(labels) // batch)
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


def signed(clips: Tensor) -> Tensor:
    """uint8 → [-1, 1]; what is in [-1, 1] already stays."""
    return clips.float() / 127.5 - 1 if clips.dtype == torch.uint8 else clips


@dataclass(frozen=True)
class EffectClassifier:
    """A trained net and the effects that it tells apart, by category id."""

    net: nn.Module
    names: tuple[str, ...]

    def found(self, clips: Sequence[np.ndarray]) -> list[str]:
        """The effect that is found in each clip uint8 [n, H, W, 3]."""
        if not len(clips):
            return []
        seen = torch.stack([to_classifier(clip) for clip in clips])
        return [self.names[place] for place in predictions(self.net, seen).tolist()]

    def save(self, file: Path) -> None:
        """Write net and names as one safetensors file."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.net.state_dict().items()}
        with written(file) as partial:
            save_file(tensors, partial, metadata={"format": "pt", NAMES: json.dumps(self.names)})

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote.

        Raises:
            BadWeights: another kind of file, or one without names.
        """
        try:
            with safe_open(file, framework="pt") as opened:
                names = json.loads((opened.metadata() or {}).get(NAMES, "null"))
        except (OSError, SafetensorError, ValueError) as error:
            raise BadWeights(f"{file} is no readable classifier of effects: {first_line(error)}.") from error
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BadWeights(
                f"{file} does not say which effects it tells apart; name a classifier that `video2lora"
                " evaluate` saved."
            )
        return cls(load_tensors(EffectNet(len(names)), file, "a classifier of effects"), tuple(names))
