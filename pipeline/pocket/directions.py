"""The directions in which effects change, and where words point among them: fitted on renders in seconds.

What `pipeline.embedding.change` measures on renders of the categories that a hypernetwork may see is reduced
to its principal directions, whitened within categories, and turned onto the directions in which categories
differ: linear discriminants, in closed form. How well they serve categories that taught nothing is in
`tests/benchmarks/README.md`.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from pipeline.embedding.change import BLOCKS
from pipeline.embedding.directions import SIZE, Directions, levelled, shipped
from pipeline.pocket.clip_renders import LEARNED_FROM, measured
from pipeline.samples.splits import SEEN
from training.files import written

if TYPE_CHECKING:  # what it imports takes seconds, and diffusers
    from pipeline.pocket.backbone import Steps

# Clips of each category that are measured, the first of those from which the pocket CLIP learns.
CLIPS = 16
_PRINCIPAL = 320
# Added to the variances within categories, as a share of their mean: quiet directions are mostly noise.
_SHRINK = 0.2


def ship_directions(
    out: Path,
    work: Path,
    step: "Steps",
    categories: Sequence[str] = SEEN,
    clips: int = CLIPS,
) -> dict:
    """Render, measure, fit, and write the file `out`; what was measured is kept in `work`.

    Returns:
        `bytes` of the file, `clips` that it was fitted on.
    """
    with step("What changes") as progress:
        folder = work / "change"
        with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
            rows = []
            for each in pool.map(partial(measured, count=clips, first=LEARNED_FROM, work=folder), categories):
                rows.append(each)
                progress(len(rows), len(categories), {})
    blocks = {name: np.concatenate([each[name] for each in rows]) for name in BLOCKS}
    found = fit_directions(blocks, np.repeat(np.arange(len(categories)), clips))
    with written(out) as part:
        save_file({name: value.astype(np.float16) for name, value in vars(found).items()}, part)
    shipped.cache_clear()  # it may be these that ship
    return {"bytes": out.stat().st_size, "clips": len(categories) * clips}


def fit_directions(blocks: Mapping[str, np.ndarray], labels: np.ndarray) -> Directions:
    """Directions of blocks [n, its size] of clips of the categories `labels` [n], from 0 on."""
    middle = np.concatenate([blocks[name].mean(0) for name in BLOCKS])
    spread = np.array([max(float(blocks[name].std()), 1e-6) for name in BLOCKS], np.float32)
    rows = levelled(blocks, middle, spread)
    principal = PCA(min(_PRINCIPAL, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
    turned = principal.transform(rows)
    means = np.stack([turned[labels == label].mean(0) for label in range(labels.max() + 1)])
    discriminants = _discriminants(turned - means[labels], means, len(rows) / len(means))
    basis = principal.components_.T @ discriminants
    centre = principal.mean_ + principal.components_.T @ means.mean(0)
    return Directions(middle, spread, centre, basis)


def _discriminants(within: np.ndarray, means: np.ndarray, clips: float) -> np.ndarray:
    """Directions [P, SIZE] in which categories with these means [C, P], of so many clips each, differ more
    than clips do from their own category's mean, by `within` [n, P]; the surer, the longer."""
    variance, axes = np.linalg.eigh(within.T @ within / len(within))
    whiten = axes * (np.maximum(variance, 0) + _SHRINK * variance.mean()) ** -0.5
    apart = (means - means.mean(0)) @ whiten
    between, axes = np.linalg.eigh(apart.T @ apart / len(apart))
    between = np.maximum(between, 0)
    # The means of as many clips of one and the same category would differ by chance by 1 / clips.
    sure = (between / (between + 1 / clips)) ** 0.5
    found = (whiten @ (axes * sure))[:, ::-1][:, :SIZE]
    # An axis has no sign of its own: its largest value is positive.
    found = found * np.sign(found[np.abs(found).argmax(0), np.arange(found.shape[1])])
    return np.pad(found, ((0, 0), (0, SIZE - found.shape[1])))
