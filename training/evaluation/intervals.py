"""Intervals over categories: clips of one category are not independent, so whole categories are drawn again.

All are percentile bootstraps. Of few categories they come out too narrow: below about ten, read them as the
least that is not known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.errors import BadFigures

RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Interval:
    """A figure and what it may be: without bounds where one category says nothing about others.

    Attributes:
        items: clips, pairs or choices that it is of.
        clusters: categories that they come from.
    """

    value: float
    low: float
    high: float
    items: int
    clusters: int

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: unknown ends are null."""
        ends = {} if self.known else {"low": None, "high": None}
        return asdict(self) | ends


def mean_interval(
    values: Sequence[float] | np.ndarray,
    categories: Sequence[str],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The mean over all values; the same seed and categories draw the same, whatever the values.

    Raises:
        BadFigures: no values, values that are not finite, or another number of categories.
    """
    values, categories = _checked(values, categories)
    return _interval(
        values.mean(), _means(values, categories, resamples, seed), len(values), categories, level
    )


def paired_difference(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    categories: Sequence[str],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The mean of ours - theirs, both measured on the same items in the same order.

    Raises:
        BadFigures: see `mean_interval`; or the two are not of one length.
    """
    return mean_interval(_differences(ours, theirs), categories, resamples, level, seed)


def win_rate(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    categories: Sequence[str],
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The share of items on which ours is the better one; an item on which both are equal is half a win.

    Raises:
        BadFigures: see `paired_difference`.
    """
    sign = np.sign(_differences(ours, theirs)) * (1 if higher_is_better else -1)
    return mean_interval((1 + sign) / 2, categories, resamples, level, seed)


def relative_reduction(
    less: Sequence[float] | np.ndarray,
    more: Sequence[float] | np.ndarray,
    categories: Sequence[str],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """1 - mean(less) / mean(more), as the transfer gap is: both of the same items, drawn together.

    Raises:
        BadFigures: see `paired_difference`; or `more` has a mean of zero.
    """
    _differences(less, more)
    less, _ = _checked(less, categories)
    more, categories = _checked(more, categories)
    if more.mean() == 0:
        raise BadFigures("A share of figures that are all zero is not defined.")
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = 1 - _means(less, categories, resamples, seed) / _means(more, categories, resamples, seed)
    return _interval(1 - less.mean() / more.mean(), drawn[np.isfinite(drawn)], len(less), categories, level)


def drawn_interval(
    statistic: Callable[[np.ndarray], float],
    categories: Sequence[str],
    resamples: int = 200,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Of a figure that is no mean, as a Fréchet distance is.

    Such a figure grows where items are drawn twice, whatever they are: the draws are moved so that their mean
    is the figure itself.

    Args:
        statistic: the figure of the items at these places, int64 [m]; a place may be there more than once.

    Raises:
        BadFigures: no items.
    """
    kinds, place = _places(categories)
    members = [np.flatnonzero(place == kind) for kind in range(len(kinds))]
    picks = np.random.default_rng(seed).integers(len(kinds), size=(resamples, len(kinds)))
    every = np.arange(len(place))
    if len(kinds) == 1:
        return _interval(statistic(every), np.empty(0), len(every), categories, level)
    value = statistic(every)
    drawn = np.array([statistic(np.concatenate([members[kind] for kind in row])) for row in picks])
    return _interval(value, drawn - drawn.mean() + value, len(every), categories, level)


def _interval(
    value: float, drawn: np.ndarray, items: int, categories: Sequence[str], level: float
) -> Interval:
    clusters = len(set(categories))
    if clusters < 2 or not len(drawn):
        return Interval(float(value), -math.inf, math.inf, items, clusters)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), items, clusters)


def _means(values: np.ndarray, categories: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Means [resamples] over categories drawn with replacement, each with all its items."""
    kinds, place = _places(categories)
    sums, counts = np.bincount(place, values), np.bincount(place)
    picks = np.random.default_rng(seed).integers(len(kinds), size=(resamples, len(kinds)))
    return sums[picks].sum(axis=1) / counts[picks].sum(axis=1)


def _places(categories: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    if not len(categories):
        raise BadFigures("There is nothing to take an interval of: no clip was measured.")
    return np.unique(np.asarray(categories, dtype=str), return_inverse=True)


def _checked(
    values: Sequence[float] | np.ndarray, categories: Sequence[str]
) -> tuple[np.ndarray, Sequence[str]]:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(categories),):
        raise BadFigures(
            f"An interval needs a category for each value: {values.size} values, {len(categories)} names."
        )
    if not len(values):
        raise BadFigures("There is nothing to take an interval of: no clip was measured.")
    if not np.isfinite(values).all():
        raise BadFigures(f"{int((~np.isfinite(values)).sum())} of {len(values)} figures are not finite.")
    return values, categories


def _differences(ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | np.ndarray) -> np.ndarray:
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise BadFigures(
            f"Pairs need as many figures on both sides, of the same items: {ours.size} and {theirs.size}."
        )
    return ours - theirs
