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

from pipeline.samples.categories import CATEGORIES, find_category
from pipeline.samples.render import EDITION, render_clip
from pipeline.samples.sheet import contact_sheet, write_sheets
from tests.benchmarks.effect_clips import TEST_FROM, TRAIN_FROM, render_all
from training.evaluation.effect import predictions, train_classifier
from training.evaluation.seen_frames import FRAMES, HEIGHT, WIDTH

SCENES = 4096  # a category's clips are so many numbers apart: hardly two categories share a scene


class CategoryNet(nn.Module):
    """Frames [B, 3, 17, 32, 48] in [-1, 1] → logits [B, categories]: for six times as many as an `EffectNet`.

    A finer grid in time at the end (what comes first and what then?) and, `deep`, residual blocks for
    a GPU.
    """

    def __init__(self, categories: int, width: int = 32, deep: bool = False) -> None:
        super().__init__()

        def halved(inside: int, outside: int, stride: int | tuple[int, int, int]) -> list[nn.Module]:
            layers = [nn.Conv3d(inside, outside, 3, stride, padding=1), nn.GroupNorm(4, outside), nn.GELU()]
            return [*layers, Residual(outside)] if deep else layers

        near = 2 if deep else 3  # pixels to a step
        self.blocks = nn.Sequential(
            nn.Conv3d(9, width, (3, 5, 5), stride=(2, near, near), padding=(1, 2, 2)),
            nn.GroupNorm(4, width),
            nn.GELU(),
            *halved(width, 2 * width, 2),
            *halved(2 * width, 3 * width, (1, 2, 2)),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.LazyLinear(categories))
        with torch.no_grad():
            self(torch.zeros(1, 3, FRAMES, HEIGHT, WIDTH))

    def forward(self, frames: Tensor) -> Tensor:
        change = frames - frames[:, :, :1]
        # What moves from frame to frame: drops and flakes are lost in what the camera has changed.
        motion = torch.diff(frames, dim=2, prepend=frames[:, :, :1])
        return self.head(self.blocks(torch.cat([frames, change, motion], dim=1)).flatten(1))


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.inner = nn.Sequential(first, nn.GroupNorm(4, width), nn.GELU(), second, nn.GroupNorm(4, width))

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.gelu(features + self.inner(features))


def main(arguments: list[str] | None = None) -> dict:
    options = _options(arguments)
    names = tuple(find_category(name).name for name in options.only or CATEGORIES)[: options.categories]
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"categories": len(names), "composed": sum(len(CATEGORIES[name].parts) > 1 for name in names)}
    if options.timed:
        report |= cost(names, options.timed)
        print(f"CPU of a clip of 49 frames at 64×96: {report['mean_ms']} ms; most: {report['worst']}")
    if options.sheets:
        write_sheets(options.out, names)
    if options.per_effect:
        began = time.monotonic()
        kept = options.clips or options.out / "clips"
        shown = clips_of(names, TRAIN_FROM, options.per_effect, kept)
        asked, labels = clips_of(names, TEST_FROM, options.tested, kept)
        rendered = time.monotonic()
        cuda = torch.device(options.device).type == "cuda"
        net = train_classifier(
            shown,
            len(names),
            epochs=options.epochs or (60 if cuda else 12),
            batch=128 if cuda else 32,
            model=CategoryNet(len(names), options.width or (48 if cuda else 32), deep=cuda),
            device=options.device,
            seconds=options.seconds,
            progress=_say,
        )
        matrix = confusion(labels, predictions(net, asked), len(names))
        report |= {"device": options.device, "rendered_s": round(rendered - began, 1)}
        report["trained_s"] = round(time.monotonic() - rendered, 1)
        report |= told_apart(names, matrix, options.out)
    print(json.dumps(report))
    return report


def cost(names: Sequence[str], clips: int) -> dict:
    """Processor milliseconds of a clip of 49 frames at 64×96, its scene included.

    Of two measurements of a clip the lesser: what else the machine does only ever adds.
    """
    render_clip(names[0], 0, 49, 64, 96)  # what is loaded once
    spent = {}
    for name in names:
        twice = [[_processor_ms(name, seed) for seed in range(clips)] for _ in range(2)]
        spent[name] = float(np.min(twice, axis=0).mean())
    slowest = sorted(spent, key=spent.get, reverse=True)[:8]
    return {
        "mean_ms": round(float(np.mean(list(spent.values()))), 1),
        "over_25_ms": sum(ms > 25 for ms in spent.values()),
        "worst": {name: round(spent[name], 1) for name in slowest},
    }


def _processor_ms(name: str, seed: int) -> float:
    began = time.process_time()
    render_clip(name, seed, 49, 64, 96)
    return (time.process_time() - began) * 1e3


def clips_of(names: Sequence[str], first: int, count: int, kept: Path) -> tuple[Tensor, Tensor]:
    """`count` clips of every category [n, 3, 17, 32, 48] and their indices; kept in a folder by category."""
    kept.mkdir(parents=True, exist_ok=True)
    files = {name: kept / f"{name}-{EDITION}-{first}-{count}.npy" for name in names}
    missing = [name for name in names if not files[name].exists()]
    seeds = [[first + SCENES * k + crc32(name.encode()) % SCENES for k in range(count)] for name in missing]
    if missing:
        found = render_all(missing, seeds, progress=_say)
        for name, clips in zip(missing, np.split(found, len(missing)), strict=True):
            np.save(files[name], clips)
    clips = np.concatenate([np.load(files[name]) for name in names])
    return torch.from_numpy(clips), torch.arange(len(names)).repeat_interleave(count)


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
    figure.savefig(out / "confusion.png", dpi=100, bbox_inches="tight")
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
        "below_80_percent": {
            name: round(own[name], 2) for name in sorted(own, key=own.get) if own[name] < 0.8
        },
        "confused": [[one, other, count] for (one, other), count in wrong[:20]],
    }


def _say(done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        print(f"{done}/{total}", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("effects-work"), help="where pictures go")
    parser.add_argument("--clips", type=Path, help="where rendered clips are kept; default: a folder there")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these categories")
    parser.add_argument("--categories", type=int, default=len(CATEGORIES), help="only the first so many")
    parser.add_argument(
        "--timed", type=int, default=3, help="clips of each category whose cost is measured; 0: none"
    )
    parser.add_argument("--per-effect", type=int, default=40, help="clips to learn from; 0: no classifier")
    parser.add_argument("--tested", type=int, default=8, help="clips of each category to ask about")
    parser.add_argument("--epochs", type=int, help="default 12, on a GPU 60")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="to train at most")
    parser.add_argument("--width", type=int, help="of the classifier; default 32, on a GPU 48")
    parser.add_argument("--sheets", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
