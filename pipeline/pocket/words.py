"""What words mean for clips: a small network from the text tower's vectors to whole clip descriptors.

Many texts about every taught category (`pipeline.samples.phrases`) are to point at the mean of its clips'
descriptors among those of all. What it was chosen by, and how well it serves words and categories that
taught nothing, is in `tests/benchmarks/README.md`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import Tensor

from pipeline.embedding.embedder import Embedder, Look
from pipeline.embedding.settings import EmbedSettings
from pipeline.embedding.words import FILE, Words
from pipeline.pocket.clip import text_vectors
from pipeline.pocket.clip_renders import LEARNED_FROM, SCENES, measured, render_categories
from pipeline.pocket.directions import CLIPS
from pipeline.samples.phrases import texts_about
from pipeline.samples.seeding import generator
from pipeline.samples.splits import SEEN
from training.files import written
from training.randomness import initial_values

if TYPE_CHECKING:  # what it imports takes seconds, and diffusers
    from pipeline.pocket.backbone import Steps

# Texts of each category that are drawn, beside its wordings.
TEXTS = 60
_HIDDEN, _DIRECTIONS = 384, 128
_STEPS, _BATCH, _LR, _DECAY, _DROPPED = 400, 384, 3e-3, 0.05, 0.2
_NETWORKS = 3
_TEMPERATURE = 0.03
# Share of what a text points at that goes to effects which look alike, and how alike.
_SHARED, _ALIKE = 0.2, 0.1
# Of each value of a text's unit vector, in units of its root mean square 1 / sqrt(W).
_NOISE = 0.6
# Unit vectors are small numbers for a layer to begin with.
_SCALE = 3.0


def ship_words(
    clip: Path,
    work: Path,
    step: "Steps",
    categories: Sequence[str] = SEEN,
    clips: int = CLIPS,
    texts: int = TEXTS,
) -> dict:
    """Fit words to clips and write them into the folder `clip` of a pocket CLIP.

    Args:
        clip: the trained pocket CLIP; the shipped directions are those of its vectors.
        work: renders and text vectors are kept there, as the pocket CLIP's training left them.
        step: opens the progress of a named step.
        categories: of effects that it is taught.
        clips: of each that are looked at, at most `SCENES`.
        texts: of each that are drawn.

    Returns:
        `bytes` of the file, `texts` that it was fitted on.
    """
    embedder = Embedder(EmbedSettings(pretrained=str(clip)))
    with step("Words") as progress:
        seen, _ = render_categories(
            categories, SCENES, LEARNED_FROM, work / "clip-renders", os.cpu_count() or 1, progress
        )
        means = np.stack(
            [
                _mean(embedder, looked, measured(name, clips, LEARNED_FROM, work / "change"))
                for name, looked in zip(categories, seen[:, :clips], strict=True)
            ]
        )
        said = [texts_about(name, texts, generator("words", name)) for name in categories]
        vectors = text_vectors([text for each in said for text in each], work)
        rows = [np.stack([vectors[text].numpy() for text in each]) for each in said]
        found = fit_words(means, rows)
    out = clip / FILE
    with written(out) as part:
        tensors = {name: np.ascontiguousarray(value, np.float16) for name, value in vars(found).items()}
        save_file(tensors, part, {"embedder": embedder.embedder_id})
    return {"bytes": out.stat().st_size, "texts": sum(map(len, rows))}


def _mean(embedder: Embedder, clips: np.ndarray, blocks: dict[str, np.ndarray]) -> np.ndarray:
    looks = [
        Look(frames, {name: values[place] for name, values in blocks.items()})
        for place, frames in enumerate(clips)
    ]
    return embedder.embed_looks(looks).mean(0)


def fit_words(means: np.ndarray, texts: Sequence[np.ndarray]) -> Words:
    """The network by which every text of texts[k] [n, W] points at means[k] [D] among all of them: the mean
    of several that began differently, which is one with a wider hidden layer."""
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    basis = np.linalg.svd(means, full_matrices=False)[2][:_DIRECTIONS]
    aims = F.normalize(torch.from_numpy(means @ basis.T).float(), dim=-1)
    every = torch.cat([torch.from_numpy(each).float() for each in texts])
    said = every.mean(0)
    every = F.normalize(every - said, dim=-1) * _SCALE
    counts = torch.tensor([len(each) for each in texts])
    fitted = [_fit(every, counts, aims, seed) for seed in range(_NETWORKS)]
    straight, inner, outer = zip(*fitted, strict=True)
    return Words(
        said.numpy(), np.mean(straight, axis=0), np.hstack(inner), np.vstack(outer) / _NETWORKS, basis
    )


def _fit(every: Tensor, counts: Tensor, aims: Tensor, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Words.straight`, `inner` and `outer` of one network; `every` [n, W] are the texts of one effect after
    the other, so many of each as `counts` [k] says, `aims` [k, K] what they are to point at."""
    width, size = every.shape[1], aims.shape[1]
    # Effects that look alike are not to be told apart at any price: an effect unseen lies between some.
    wanted = torch.softmax(aims @ aims.T / _ALIKE, dim=-1) * _SHARED + torch.eye(len(aims)) * (1 - _SHARED)
    begins = counts.cumsum(0) - counts
    draws = torch.Generator().manual_seed(seed)
    with initial_values(seed):
        straight = torch.nn.Linear(width, size)
        inner, outer = torch.nn.Linear(width, _HIDDEN), torch.nn.Linear(_HIDDEN, size, bias=False)
    layers = torch.nn.ModuleList([straight, inner, outer])
    optimiser = torch.optim.AdamW(layers.parameters(), lr=_LR, weight_decay=_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LR, total_steps=_STEPS, pct_start=0.1)
    for _ in range(_STEPS):
        chosen = torch.randint(len(counts), (_BATCH,), generator=draws)
        rows = begins[chosen] + (torch.rand(_BATCH, generator=draws) * counts[chosen]).long()
        noise = torch.randn(_BATCH, width, generator=draws) * (_NOISE * _SCALE / width**0.5)
        seen = every[rows] + noise
        kept = torch.rand(_BATCH, _HIDDEN, generator=draws) >= _DROPPED
        asked = straight(seen) + outer(F.gelu(inner(seen)) * kept / (1 - _DROPPED))
        loss = F.cross_entropy(F.normalize(asked, dim=-1) @ aims.T / _TEMPERATURE, wanted[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return _rows(straight), _rows(inner), outer.weight.detach().T.numpy()


def _rows(layer: torch.nn.Linear) -> np.ndarray:
    """[W + 1, out]: the layer for unit vectors, its bias behind."""
    return torch.cat([layer.weight.T * _SCALE, layer.bias[None]]).detach().numpy()
