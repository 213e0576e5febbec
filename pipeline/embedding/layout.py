"""Clips on a map: their vectors laid out in two dimensions, neighbours near each other."""

import numpy as np
from sklearn.decomposition import PCA

from pipeline.errors import PipelineError

# t-SNE sees this many directions; more are slower and mostly noise.
DIRECTIONS = 48
SEED = 0
FEWEST = 8
# Decimals of a place: a map of a screen's size needs no more, and an address stays short.
DECIMALS = 4


class NoLayout(PipelineError):
    """Vectors that no map can be made of."""


def layout(vectors: np.ndarray) -> np.ndarray:
    """Places in the unit square, float64 [n, 2], of vectors [n, d]; the same vectors give the same map.

    Fewer than FEWEST, and those that are all alike, lie on a circle: they have no neighbourhoods to keep.

    Raises:
        NoLayout: openTSNE is not installed, or finds no places for these vectors.
    """
    count = len(vectors)
    if count < FEWEST or not np.ptp(vectors, axis=0).any():
        turns = np.arange(count) * 2 * np.pi / max(1, count)
        return np.round(0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1), DECIMALS)
    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise NoLayout(f"Maps need openTSNE: `pip install openTSNE` ({error}).") from error
    seen = vectors - vectors.mean(axis=0)
    if min(seen.shape) > DIRECTIONS:
        seen = PCA(DIRECTIONS, random_state=SEED).fit_transform(seen)
    perplexity = min(30.0, (count - 1) / 3)
    embedding = TSNE(perplexity=perplexity, random_state=SEED, n_jobs=1).fit(np.ascontiguousarray(seen))
    places = np.asarray(embedding)
    if not np.isfinite(places).all():
        raise NoLayout("openTSNE found no places for these vectors; make them again with `video2lora embed`.")
    low, high = places.min(axis=0), places.max(axis=0)
    return np.round((places - low) / np.maximum(high - low, 1e-9), DECIMALS)


def inside(places: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which places [n, 2] lie in a closed polygon [k, 2], by the even-odd rule; bool [n]."""
    x, y = places[:, 0], places[:, 1]
    found = np.zeros(len(places), dtype=bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            found ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found
