"""Can all categories of the renderer be told apart, and what does a clip cost?

`python -m tests.benchmarks.effects --out effects-work` tells categories apart by linear discriminants of what
can be measured on pixels (`pipeline.embedding.change`), fitted on real renders of every category, and asks
about scenes that nothing was fitted on. It writes the confusion matrix, contact sheets of all categories and
of those that were confused most, prints them, and one JSON object as the last line.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from pipeline.embedding.change import BLOCKS, FRAMES, observe
from pipeline.embedding.directions import levelled
from pipeline.samples.categories import CATEGORIES, find_category
from pipeline.samples.render import EDITION, clip_times, render_clip, render_frames
from pipeline.samples.sheet import contact_sheet, write_sheets
from tests.benchmarks.effect_clips import TEST_FROM, TRAIN_FROM, WHOLE

SCENES = 4096  # a category's clips are so many numbers apart: hardly two categories share a scene
# Of what is measured, and how far the variances within categories are drawn towards their mean.
_PRINCIPAL, _SHRINKAGE = 320, 0.1


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
        shown, labels = clips_of(names, TRAIN_FROM, options.per_effect, kept)
        asked, true = clips_of(names, TEST_FROM, options.tested, kept)
        measured = time.monotonic()
        found = fitted(shown, labels).predict(asked)
        report |= {
            "measured_s": round(measured - began, 1),
            "fitted_s": round(time.monotonic() - measured, 1),
        }
        report |= told_apart(names, confusion(true, found, len(names)), options.out)
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


def clips_of(
    names: Sequence[str], first: int, count: int, kept: Path, grain: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """What is measured on `count` clips of every category, fp32 [n, M], and their indices [n].

    Kept in a folder by category. `grain`: they are made `grainy` first.
    """
    kept.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        rows = []
        for each in pool.map(partial(_measured, first=first, count=count, kept=kept, grain=grain), names):
            rows.append(each)
            _say(len(rows), len(names))
    return np.concatenate(rows).astype(np.float32), np.repeat(np.arange(len(names)), count)


def _measured(name: str, first: int, count: int, kept: Path, grain: bool) -> np.ndarray:
    file = kept / f"{name}-{EDITION}-{first}-{count}{'-grain' * grain}.npy"
    if not file.exists():
        frames, height, width = WHOLE
        times = clip_times(frames)[np.linspace(0, frames - 1, FRAMES).round().astype(int)]
        rows = []
        for k in range(count):
            seed = first + SCENES * k + crc32(name.encode()) % SCENES
            clip = np.stack(list(render_frames(name, seed, times, height, width)))
            rows.append(row_of(grainy(clip, seed) if grain else clip))
        np.save(file, np.stack(rows).astype(np.float16))
    return np.load(file)


def grainy(frames: np.ndarray, seed: int) -> np.ndarray:
    """Frames uint8 [n, H, W, 3] as a model might make them that has not learned enough: softer, and with
    blots that come and go, of a size and strength of their own, on all but the first frame, which is given.
    """
    draw = np.random.default_rng(seed)
    count, height, width = frames.shape[:3]
    size, strength = int(draw.choice((2, 4, 8))), draw.uniform(5, 40)
    times = np.linspace(0, count - 1, 2 + count // 4)
    blots = draw.normal(0, strength, (len(times), height // size, width // size, 3)).astype(np.float32)
    blots[0] = 0
    found = frames.astype(np.float32)
    for place in range(1, count):
        after = int(np.searchsorted(times, place))
        share = (place - times[after - 1]) / (times[after] - times[after - 1])
        blot = (1 - share) * blots[after - 1] + share * blots[after]
        soft = cv2.GaussianBlur(found[place], (0, 0), 1.0)
        found[place] = soft + cv2.resize(blot, (width, height), interpolation=cv2.INTER_CUBIC)
    return found.clip(0, 255).astype(np.uint8)


def row_of(frames: np.ndarray) -> np.ndarray:
    """What is measured on frames uint8 [n, H, W, 3] of a clip: fp32 [M]."""
    blocks = observe(frames)
    return np.concatenate([blocks[block] for block in BLOCKS])


def fitted(shown: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A classifier of what is measured on clips [n, M] of the categories `labels` [n]."""
    middle, spread = (
        shown.mean(0),
        np.array([max(float(part.std()), 1e-6) for part in _parts(shown).values()]),
    )
    stages = make_pipeline(
        FunctionTransformer(lambda rows: levelled(_parts(rows), middle, spread)),
        PCA(min(_PRINCIPAL, *shown.shape), svd_solver="randomized", random_state=0),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE),
    )
    return stages.fit(shown, labels)


def _parts(rows: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum(list(BLOCKS.values()))[:-1]
    return dict(zip(BLOCKS, np.split(rows, ends, axis=1), strict=True))


def confusion(labels: np.ndarray, found: np.ndarray, count: int) -> np.ndarray:
    """How often clips of category i were taken for j: int [count, count]."""
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (labels, found), 1)
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
    if done % 20 == 0 or done == total:
        print(f"{done} of {total} categories measured", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("effects-work"), help="where pictures go")
    parser.add_argument("--clips", type=Path, help="where what was measured is kept; default: a folder there")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these categories")
    parser.add_argument("--categories", type=int, default=len(CATEGORIES), help="only the first so many")
    parser.add_argument(
        "--timed", type=int, default=3, help="clips of each category whose cost is measured; 0: none"
    )
    parser.add_argument("--per-effect", type=int, default=40, help="clips to fit on; 0: no classifier")
    parser.add_argument("--tested", type=int, default=10, help="clips of each category to ask about")
    parser.add_argument("--sheets", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
