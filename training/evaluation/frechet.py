"""The Fréchet distance of two sets of features, and what it is worth at their number: FVD, where I3D's."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.errors import BadFigures
from training.evaluation.intervals import Interval, drawn_interval

# With fewer videos it orders models and measures nothing (reference figures of the field: 256 to 2,048).
ENOUGH = 256


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) of features [n, D] and [m, D], in float64.

    With Σ = XᵀX for centred features X / √(n - 1), tr (Σ₁ Σ₂)^½ is the sum of the singular values of X₁ X₂ᵀ:
    exact also where there are fewer videos than dimensions, and no root of a singular matrix is taken.

    Raises:
        BadFigures: fewer than two videos on a side, other dimensions, or values that are not finite.
    """
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (ours, theirs))
    if ours.ndim != 2 or theirs.ndim != 2 or ours.shape[1] != theirs.shape[1]:
        raise BadFigures(f"Features of one length are compared, not {ours.shape} with {theirs.shape}.")
    if min(len(ours), len(theirs)) < 2:
        raise BadFigures("A Fréchet distance needs two videos on each side at least.")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise BadFigures("Features that are not finite have no Fréchet distance.")
    means = [each.mean(axis=0) for each in (ours, theirs)]
    roots = [(each - mean) / np.sqrt(len(each) - 1) for each, mean in zip((ours, theirs), means, strict=True)]
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float(np.square(root).sum()) for root in roots)
    return max(0.0, float(np.square(means[0] - means[1]).sum()) + spread - 2 * float(shared))


@dataclass(frozen=True)
class FrechetFigure:
    """A Fréchet distance with what it needs to be read.

    Attributes:
        distance: generated against real, with an interval over categories.
        number: videos on each side.
        real_against_real: the mean distance of real videos from other real ones; None where there are too
            few to part.
        real_number: videos on each side of that.
    """

    distance: Interval
    number: int
    real_against_real: float | None
    real_number: int

    @property
    def name(self) -> str:
        """Below 256 videos it is a rank: it orders models, and says nothing of how far they are from real."""
        return "distance" if self.number >= ENOUGH else "rank"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"distance": self.distance.to_dict(), "name": self.name}


def frechet_figure(
    generated: np.ndarray,
    real: np.ndarray,
    categories: list[str],
    others: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> FrechetFigure:
    """Of videos [n, D] that were generated for real ones [n, D], pair by pair.

    Args:
        categories: of each pair.
        others: features [m, D] of further real videos of the same categories, for what is real on both sides.

    Raises:
        BadFigures: see `frechet_distance`.
    """
    found = drawn_interval(
        lambda places: frechet_distance(generated[places], real[places]), categories, resamples, seed=seed
    )
    pool = real if others is None or not len(others) else np.concatenate([real, others])
    against, number = real_against_real(pool, len(real), seed)
    return FrechetFigure(found, len(real), against, number)


def real_against_real(
    pool: np.ndarray, number: int, seed: int = 0, times: int = 10
) -> tuple[float | None, int]:
    """The mean distance between two disjoint draws of `number` real videos, or of as many as can be parted.

    Returns the distance, None with fewer than four videos; and how many were on each side.
    """
    number = min(number, len(pool) // 2)
    if number < 2:
        return None, number
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(len(pool)) for _ in range(times)]
    drawn = [frechet_distance(pool[each[:number]], pool[each[number : 2 * number]]) for each in orders]
    return float(np.mean(drawn)), number
