"""A small 3-D convnet that names a clip's effect: trained on real renders, asked about generated ones."""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.pocket.backbone import HELD_OUT, POCKET_GEOMETRY
from pipeline.samples.draw import draw_clip
from pipeline.samples.effects import EFFECTS
from training.randomness import stream

FRAMES, HEIGHT, WIDTH = 17, 32, 48
# Numbers that neither the backbone nor the hypernetwork trains on, and others to measure on.
TRAIN_FROM, TEST_FROM = 10 * HELD_OUT, 20 * HELD_OUT


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
    chosen = torch.as_tensor(np.asarray(frames)[np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)])
    video = chosen.permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(video, size=(HEIGHT, WIDTH), mode="area").transpose(0, 1).contiguous()


def renders(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Clips `first` … of the endless series as the classifier takes them, and their effects' indices."""
    shape = (POCKET_GEOMETRY.num_frames, POCKET_GEOMETRY.height, POCKET_GEOMETRY.width)
    names = list(EFFECTS)
    clips, labels = [], []
    for number in range(first, first + count):
        pixels, _, effect = draw_clip(number, *shape)
        clips.append(to_classifier(pixels))
        labels.append(names.index(effect))
    return torch.stack(clips), torch.tensor(labels)


def train_classifier(per_effect: int = 40, epochs: int = 12, batch: int = 32, seed: int = 0) -> EffectNet:
    """Fit on `per_effect` renders of each effect, with some noise."""
    clips, labels = renders(TRAIN_FROM, per_effect * len(EFFECTS))
    torch.manual_seed(seed)
    model = EffectNet(len(EFFECTS)).train()
    steps = epochs * len(clips) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        draw = stream(step, f"classifier {seed}")
        chosen = torch.from_numpy(draw.integers(len(clips), size=batch))
        frames = clips[chosen]
        frames = frames + 0.08 * float(draw.random()) * torch.randn_like(frames)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(frames)
        loss = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def predictions(model: EffectNet, clips: Tensor) -> Tensor:
    """Index of the most likely effect of each clip [n, 3, 17, 32, 48]: int64 [n]."""
    return torch.cat([model(chunk).argmax(dim=1) for chunk in clips.split(64)])


def held_out_accuracy(model: EffectNet, per_effect: int = 8) -> float:
    """Share of real renders, of scenes that were not trained on, whose effect it names."""
    clips, labels = renders(TEST_FROM, per_effect * len(EFFECTS))
    return (predictions(model, clips) == labels).float().mean().item()
