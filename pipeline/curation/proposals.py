"""Categories that nobody named yet: dense places among the clips that belong to none, and what to call them.

A proposal is a category in the state `proposed` with a medoid, samples and a suggested name, and it stays one
until somebody approves it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.text import split_words, without_accents

# In the hundreds of dimensions of a descriptor every clip is far from every other; in these it is not.
_DIMENSIONS = 48
# By so much larger are the leaves that are looked at beside branches; clips by which the two are compared.
_RICHER, _COMPARED = 2, 4_000
# Branches must part the clips so much better than leaves: in rich categories both do nearly as well.
_CLEARLY = 1.05
_SAMPLES = 6
_NAME_WORDS = 3


@dataclass(frozen=True)
class Group:
    """Clips that may be a category: their places in the pool, and how surely each belongs (0 to 1)."""

    members: np.ndarray
    confidence: np.ndarray


def find_groups(vectors: np.ndarray, smallest: int, near: float) -> list[Group]:
    """Dense groups of unit vectors [n, D] (HDBSCAN), the largest first.

    Of two readings of its tree, leaves or whole branches, branches where they clearly keep the groups farther
    apart (mean silhouette, 0 for a clip in no group).

    Args:
        vectors: of the clips that belong to no category.
        smallest: clips that a group needs.
        near: cosine to a group's mean from which a clip outside the dense part still belongs to it.
    """
    if len(vectors) < max(2, smallest):
        return []
    # scikit-learn takes a second to import, and few catalogues come this far.
    from sklearn.cluster import HDBSCAN
    from sklearn.metrics import silhouette_samples

    # Not from their mean: what is alone would come to lie with whatever the mean is far from.
    directions = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :_DIMENSIONS]
    reduced = vectors @ directions
    reduced /= np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)

    def read(size: int, method: str) -> tuple[np.ndarray, np.ndarray]:
        # Categories are small, so that one neighbour has to do as evidence of density.
        finder = HDBSCAN(min_cluster_size=size, min_samples=2, cluster_selection_method=method, copy=True)
        found = finder.fit(reduced)
        return _with_near(vectors, found.labels_.copy(), found.probabilities_.copy(), near)

    def apart(labels: np.ndarray) -> float:
        inside = np.flatnonzero(labels >= 0)
        if len(inside) > _COMPARED:
            inside = np.sort(np.random.default_rng(0).choice(inside, _COMPARED, replace=False))
        if not 2 <= len(np.unique(labels[inside])) < len(inside):
            return 0.0
        widths = silhouette_samples(vectors[inside], labels[inside], metric="cosine")
        return float(widths.mean() * (labels >= 0).mean())

    # Two readings of the density tree. Where categories have many clips, its leaves: an effect and its like
    # are two categories, and merging is a person's act; smaller leaves would cut such a category in two.
    # Where they have few, whole branches: leaves so large would be several categories. The clips tell which.
    leaves, branches = read(smallest + _RICHER, "leaf"), read(smallest, "eom")
    clearly = apart(branches[0]) > _CLEARLY * apart(leaves[0])
    labels, confidence = branches if clearly else leaves
    count = labels.max() + 1
    groups = [np.flatnonzero(labels == number) for number in range(count)]
    return [Group(group, confidence[group]) for group in sorted(groups, key=lambda g: (-len(g), g[0]))]


def _with_near(
    vectors: np.ndarray, labels: np.ndarray, confidence: np.ndarray, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """The groups `labels` [n] (-1: in none), and with each the clips outside that are near to its mean."""
    count = labels.max() + 1
    outside = np.flatnonzero(labels < 0)
    if not count or not len(outside):
        return labels, confidence
    means = np.stack([vectors[labels == number].mean(0) for number in range(count)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    cosines = vectors[outside] @ means.T
    taken = cosines.max(1) >= near
    labels[outside[taken]] = cosines.argmax(1)[taken]
    confidence[outside[taken]] = cosines.max(1)[taken]
    return labels, confidence


def medoid_first(vectors: np.ndarray) -> np.ndarray:
    """Places of the members [n, D] by their distance from the middle: the medoid, then the most typical."""
    middle = vectors.mean(0)
    return np.argsort(-(vectors @ middle), kind="stable")


def samples_of(clip_ids: Sequence[str], vectors: np.ndarray) -> list[str]:
    """The medoid's id and those of clips that show how far the group reaches: evenly from near to far."""
    order = medoid_first(vectors)
    chosen = np.unique(np.linspace(0, len(order) - 1, min(_SAMPLES, len(order))).round().astype(int))
    return [clip_ids[order[place]] for place in chosen]


def suggest_name(inside: Sequence[str | None], everywhere: Iterable[str | None]) -> str | None:
    """Words that the members' texts (captions, file names) have more often than all others' (class TF-IDF).

    Returns:
        up to three words joined by underscores; None where no word is in half of the members' texts.
    """
    texts = [_words(text) for text in inside if text]
    if not texts:
        return None
    common = Counter(word for text in texts for word in text)
    spread = Counter(word for text in everywhere if text for word in _words(text))
    total = len(inside)
    often = {w: n / total for w, n in common.items() if n / total >= 0.5 and not w.isdigit() and len(w) > 2}
    own = {word: share * common[word] / max(spread[word], common[word]) for word, share in often.items()}
    best = sorted((word for word in own if own[word] >= 0.25), key=lambda word: (-own[word], word))
    return "_".join(best[:_NAME_WORDS]) or None


def _words(text: str) -> set[str]:
    return set(split_words(without_accents(text)))
