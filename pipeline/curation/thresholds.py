"""How near to a category's prototype is near enough: calibrated on labels that are held out in turn.

Every labelled clip is asked about twice. Without itself in its category's prototype, how near does it come to
its own? And as if its category were not known, how near does it come to the nearest other? A threshold parts
the two: what is labelled is found again, and what belongs to none is not taken in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# A category's own best threshold counts as much as that of all when it has so many labels.
_TRUSTED = 8
_CHUNK = 4_096


@dataclass(frozen=True)
class Threshold:
    """Cosine from which a clip is assigned, and what it would have done to the labels held out.

    Attributes:
        precision: share of those taken in that belong there; None where none was taken in.
        recall: share of the category's own that are taken in; None where none could be held out.
        labels: how many of its own were held out.
    """

    similarity: float
    precision: float | None = None
    recall: float | None = None
    labels: int = 0

    def as_row(self) -> dict:
        """What `categories.thresholds` holds, rounded so that another machine writes the same."""
        shares = {"precision": self.precision, "recall": self.recall}
        told = {name: None if value is None else round(value, 3) for name, value in shares.items()}
        return {"similarity": round(self.similarity, 4), **told, "labels": self.labels}


def unit_means(vectors: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit mean [count, D] and number of members [count] of every label 0 … count - 1."""
    sums, sizes = np.zeros((count, vectors.shape[1])), np.bincount(labels, minlength=count)
    np.add.at(sums, labels, vectors)
    return _unit(sums), sizes


def calibrate(
    vectors: np.ndarray, labels: np.ndarray, names: list[str], default: float
) -> dict[str, Threshold]:
    """A threshold for every category.

    Args:
        vectors: unit vectors [n, D] of labelled clips.
        labels: index in `names` of each.
        names: the categories.
        default: where nothing can be held out: fewer than two clips in every category, or one category.
    """
    count = len(names)
    if not len(vectors) or count < 2 or np.bincount(labels, minlength=count).max() < 2:
        return {name: Threshold(default) for name in names}
    own, taken_for, other, other_at = _held_out(vectors, labels, count)
    testable = ~np.isnan(own)
    everyone = _best(own[testable & (taken_for == labels)], other)
    found = {}
    for number, name in enumerate(names):
        members = testable & (labels == number)
        right = own[members & (taken_for == number)]
        wrong = np.concatenate([other[other_at == number], own[testable & (taken_for == number) & ~members]])
        share = len(right) / (len(right) + _TRUSTED)
        mine = _best(right, wrong) if len(right) and len(wrong) else everyone
        similarity = share * mine + (1 - share) * everyone
        good, bad = int((right >= similarity).sum()), int((wrong >= similarity).sum())
        found[name] = Threshold(
            float(similarity),
            good / (good + bad) if good + bad else None,
            good / int(members.sum()) if members.any() else None,
            int(members.sum()),
        )
    return found


def _held_out(vectors: np.ndarray, labels: np.ndarray, count: int):
    """By clip: its nearest category's cosine with itself left out of its own (NaN for an only member), which
    that is, and cosine and number of the nearest other category."""
    prototypes, sizes = unit_means(vectors, labels, count)
    sums = np.zeros((count, vectors.shape[1]))
    np.add.at(sums, labels, vectors)
    own, other = np.full(len(vectors), np.nan), np.empty(len(vectors))
    taken_for, other_at = np.empty(len(vectors), int), np.empty(len(vectors), int)
    for start in range(0, len(vectors), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = np.arange(len(vectors[part]))
        mine = labels[part]
        cosines = vectors[part] @ prototypes.T
        cosines[:, sizes == 0] = -np.inf
        cosines[rows, mine] = -np.inf
        other_at[part], other[part] = cosines.argmax(1), cosines.max(1)
        cosines[rows, mine] = (_unit(sums[mine] - vectors[part]) * vectors[part]).sum(1)
        taken_for[part] = cosines.argmax(1)
        own[part] = np.where(sizes[mine] > 1, cosines.max(1), np.nan)
    return own, taken_for, other, other_at


def _best(right: np.ndarray, wrong: np.ndarray) -> float:
    """The cosine that parts right from wrong with the fewest mistakes, each side counted as a share of it."""
    if not len(right) or not len(wrong):
        return float(min(right, default=max(wrong, default=1.0)))
    at = np.unique(np.concatenate([right, wrong]))
    missed = np.searchsorted(np.sort(right), at) / len(right)
    let_in = 1 - np.searchsorted(np.sort(wrong), at) / len(wrong)
    return float(at[(missed + let_in).argmin()])


def as_rows(thresholds: Mapping[str, Threshold]) -> dict[str, dict]:
    """`Threshold.as_row` of every category."""
    return {name: threshold.as_row() for name, threshold in thresholds.items()}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
