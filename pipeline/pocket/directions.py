"""The directions in which effects change, and where words point among them: fitted on renders in seconds.

What `pipeline.embedding.change` measures on renders of the categories that a hypernetwork may see is reduced
to its principal directions, whitened within categories, and turned onto the directions in which categories
differ: linear discriminants, in closed form. A linear layer over the text tower's vectors is taught with the
wordings of these categories to point at their clips. How well both serve categories that taught nothing is
measured in `tests/benchmarks/README.md`.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from pipeline.embedding.change import BLOCKS
from pipeline.embedding.directions import SIZE, Directions, levelled
from pipeline.pocket.clip_renders import LEARNED_FROM, measured
from pipeline.samples.splits import SEEN
from training.files import written
from training.randomness import initial_values

if TYPE_CHECKING:  # what it imports takes seconds, and diffusers
    from pipeline.pocket.backbone import Steps

# Clips of each category that are measured, the first of those from which the pocket CLIP learns.
CLIPS = 16
_PRINCIPAL = 320
# Added to the variances within categories, as a share of their mean: quiet directions are mostly noise.
_SHRINK = 0.2
_STEPS, _TEMPERATURE, _TEXT_NOISE = 200, 0.05, 0.05


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
    from pipeline.pocket.clip import text_vectors
    from pipeline.samples.wordings import wordings

    with step("What changes") as progress:
        folder = work / "change"
        with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
            rows = []
            for each in pool.map(partial(measured, count=clips, first=LEARNED_FROM, work=folder), categories):
                rows.append(each)
                progress(len(rows), len(categories), {})
    blocks = {name: np.concatenate([each[name] for each in rows]) for name in BLOCKS}
    taught = [wordings(name).taught for name in categories]
    vectors = text_vectors([text for texts in taught for text in texts], work)
    texts = [np.stack([vectors[text].numpy() for text in each]) for each in taught]
    found = fit_directions(blocks, np.repeat(np.arange(len(categories)), clips), texts)
    with written(out) as part:
        save_file({name: value.astype(np.float16) for name, value in vars(found).items()}, part)
    return {"bytes": out.stat().st_size, "clips": len(categories) * clips}


def fit_directions(
    blocks: Mapping[str, np.ndarray], labels: np.ndarray, texts: Sequence[np.ndarray]
) -> Directions:
    """Directions of blocks [n, its size] of clips of the categories `labels` [n], whose wordings have the
    vectors texts[label] [k, W]."""
    middle = np.concatenate([blocks[name].mean(0) for name in BLOCKS])
    spread = np.array([max(float(blocks[name].std()), 1e-6) for name in BLOCKS], np.float32)
    rows = levelled(blocks, middle, spread)
    principal = PCA(min(_PRINCIPAL, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
    turned = principal.transform(rows)
    means = np.stack([turned[labels == label].mean(0) for label in range(len(texts))])
    discriminants = _discriminants(turned - means[labels], means, len(rows) / len(texts))
    basis = principal.components_.T @ discriminants
    centre = principal.mean_ + principal.components_.T @ means.mean(0)
    silent = np.zeros(texts[0].shape[1]), np.zeros((texts[0].shape[1] + 1, SIZE))
    clips = Directions(middle, spread, centre, basis, *silent).of(blocks)
    return Directions(middle, spread, centre, basis, *_words(clips, labels, texts))


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


def _words(
    clips: np.ndarray, labels: np.ndarray, texts: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """`Directions.said` and `words`: a linear layer by which a text finds the clips [n, SIZE] of its category
    among those of all, and their mean among the others' means."""
    of_text = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(each) for each in texts]))
    every = torch.from_numpy(np.concatenate(texts)).float()
    said = every.mean(0)
    every = F.normalize(every - said, dim=-1)
    found, of_clip = torch.from_numpy(clips), torch.from_numpy(labels)
    means = F.normalize(torch.stack([found[of_clip == label].mean(0) for label in range(len(texts))]), dim=-1)
    draws = torch.Generator().manual_seed(0)
    with initial_values(0):
        layer = torch.nn.Linear(every.shape[1], SIZE)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=2e-3, weight_decay=0.01)
    for _ in range(_STEPS):
        some = torch.randint(len(every), (256,), generator=draws)
        seen = torch.randint(len(found), (512,), generator=draws)
        noise = torch.randn(256, every.shape[1], generator=draws) * _TEXT_NOISE
        asked = F.normalize(layer(every[some] + noise), dim=-1)
        loss = F.cross_entropy(asked @ means.T / _TEMPERATURE, of_text[some])
        scores = asked @ found[seen].T / _TEMPERATURE
        same = of_text[some][:, None] == of_clip[seen]
        right = scores.masked_fill(~same, -1e9).logsumexp(1)
        loss = loss + (scores.logsumexp(1) - right)[same.any(1)].sum() / same.any(1).sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = torch.cat([layer.weight.T, layer.bias[None]]).detach().numpy()
    return said.numpy(), weights
