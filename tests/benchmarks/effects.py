"""Can all categories of the renderer be told apart, and what does a clip cost?

`python -m tests.benchmarks.effects --out effects-work` trains a classifier on real renders of every category
and asks it about scenes it never saw. It writes the confusion matrix, contact sheets of all categories and of
those that were confused most, prints them, and one JSON object as the last line.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.render import render_clip
from pipeline.samples.sheet import contact_sheet, write_sheets
from tests.benchmarks.effect_classifier import (
    FRAMES,
    HEIGHT,
    TEST_FROM,
    TRAIN_FROM,
    WIDTH,
    predictions,
    render,
    train_classifier,
)

SCENES = 4096  # a category's clips are so many numbers apart: hardly two categories share a scene


class CategoryNet(nn.Module):
    """Frames [B, 3, 17, 32, 48] in [-1, 1] → logits [B, categories]: an `EffectNet` for six times as many.

    A third of its multiplications, and a finer grid in time at the end: what comes first and what then?
    """

    def __init__(self, categories: int, width: int = 32) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv3d(6, width, (3, 5, 5), stride=(2, 3, 3), padding=(1, 2, 2)),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv3d(width, 2 * width, 3, stride=2, padding=1),
            nn.GroupNorm(4, 2 * width),
            nn.GELU(),
            nn.Conv3d(2 * width, 3 * width, 3, stride=(1, 2, 2), padding=1),
            nn.GroupNorm(4, 3 * width),
            nn.GELU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.LazyLinear(categories))
        with torch.no_grad():
            self(torch.zeros(1, 3, FRAMES, HEIGHT, WIDTH))

    def forward(self, frames: Tensor) -> Tensor:
        change = frames - frames[:, :, :1]
        return self.head(self.blocks(torch.cat([frames, change], dim=1)).flatten(1))


def main(arguments: list[str] | None = None) -> dict:
    options = _options(arguments)
    names = tuple(CATEGORIES)[: options.categories]
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"categories": len(names), "composed": sum(len(CATEGORIES[name].parts) > 1 for name in names)}
    report |= cost(names, options.timed)
    print(f"CPU of a clip of 49 frames at 64×96: {report['mean_ms']} ms; most: {report['worst']}")
    write_sheets(options.out, names)
    if options.per_effect:
        shown = clips_of(names, TRAIN_FROM, options.per_effect, options.out / "clips")
        asked, labels = clips_of(names, TEST_FROM, options.tested, options.out / "clips")
        net = train_classifier(
            names=names,
            epochs=options.epochs,
            model=CategoryNet(len(names), options.width),
            clips=shown,
            progress=_say,
        )
        matrix = confusion(labels, predictions(net, asked), len(names))
        report |= told_apart(names, matrix, options.out)
    print(json.dumps(report))
    return report


def cost(names: Sequence[str], clips: int) -> dict:
    """Processor milliseconds of a clip of 49 frames at 64×96, its scene included."""
    render_clip(names[0], 0, 49, 64, 96)  # what is loaded once
    spent = {}
    for name in names:
        began = time.process_time()
        for seed in range(clips):
            render_clip(name, seed, 49, 64, 96)
        spent[name] = (time.process_time() - began) * 1e3 / clips
    slowest = sorted(spent, key=spent.get, reverse=True)[:8]
    return {
        "mean_ms": round(float(np.mean(list(spent.values()))), 1),
        "over_25_ms": sum(ms > 25 for ms in spent.values()),
        "worst": {name: round(spent[name], 1) for name in slowest},
    }


def clips_of(names: Sequence[str], first: int, count: int, kept: Path) -> tuple[Tensor, Tensor]:
    """`count` clips of every category [n, 3, 17, 32, 48] and their indices; kept in a folder by category."""
    kept.mkdir(exist_ok=True)
    clips = []
    for place, name in enumerate(names):
        file = kept / f"{name}-{first}-{count}.npy"
        if not file.exists():
            seeds = [first + SCENES * k + crc32(name.encode()) % SCENES for k in range(count)]
            np.save(file, torch.stack([render(name, seed) for seed in seeds]).numpy())
            _say(place + 1, len(names))
        clips.append(torch.from_numpy(np.load(file)))
    return torch.cat(clips), torch.arange(len(names)).repeat_interleave(count)


def confusion(labels: Tensor, found: Tensor, count: int) -> np.ndarray:
    """How often clips of category i were taken for j: int [count, count]."""
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (labels.numpy(), found.numpy()), 1)
    return matrix


def told_apart(names: Sequence[str], matrix: np.ndarray, out: Path) -> dict:
    """Print and draw what was confused with what."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    share = matrix / matrix.sum(1, keepdims=True)
    figure, axes = pyplot.subplots(figsize=(0.11 * len(names) + 2, 0.11 * len(names) + 2))
    axes.imshow(share, cmap="magma_r", vmin=0, vmax=1)
    for set_ticks, turn in ((axes.set_xticks, 90), (axes.set_yticks, 0)):
        set_ticks(range(len(names)), names, fontsize=4, rotation=turn)
    axes.set_ylabel("shown")
    axes.set_xlabel("found")
    figure.savefig(out / "confusion.png", dpi=140, bbox_inches="tight")
    pyplot.close(figure)
    wrong = Counter(
        {(names[i], names[j]): int(matrix[i, j]) for i, j in np.argwhere(matrix) if i != j}
    ).most_common()
    own = {name: share[i, i] for i, name in enumerate(names)}
    print("worst: " + ", ".join(f"{name} {own[name]:.0%}" for name in sorted(own, key=own.get)[:20]))
    for (one, other), count in wrong[:40]:
        print(f"{count:>3} clips of {one} taken for {other}")
    pairs = [name for (one, other), _ in wrong[:20] for name in (one, other)]
    if pairs:
        contact_sheet(pairs, columns=2).save(out / "confused.png")
    family = [CATEGORIES[name].family or name for name in names]
    right = sum(int(matrix[i, j]) for i, j in np.argwhere(matrix) if family[i] == family[j])
    return {
        "accuracy": round(float(np.trace(matrix) / matrix.sum()), 4),
        "family_accuracy": round(right / int(matrix.sum()), 4),
        "below_80_percent": sorted(name for name in names if own[name] < 0.8),
    }


def _say(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"{done}/{total}", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("effects-work"), help="where pictures and clips go")
    parser.add_argument("--categories", type=int, default=len(CATEGORIES), help="only the first so many")
    parser.add_argument("--timed", type=int, default=3, help="clips of each category whose cost is measured")
    parser.add_argument("--per-effect", type=int, default=40, help="clips to learn from; 0: no classifier")
    parser.add_argument("--tested", type=int, default=8, help="clips of each category to ask about")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=32, help="of the classifier")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
