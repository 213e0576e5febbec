"""How well vectors bring clips of one category together: pure functions of vectors and labels."""

from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import normalized_mutual_info_score


def average_precisions(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By clip, the average precision of all others ranked by cosine; NaN where nobody else has its label."""
    scores = _unit(vectors) @ _unit(vectors).T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
    hit = labels[order] == labels[:, None]
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    found = hit.sum(1)
    return np.where(found > 0, (precision * hit).sum(1) / np.maximum(found, 1), np.nan)


def nearest_is_right(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By clip, whether its nearest neighbour has its label, as 0.0 or 1.0."""
    scores = _unit(vectors) @ _unit(vectors).T
    np.fill_diagonal(scores, -np.inf)
    return (labels[scores.argmax(1)] == labels).astype(float)


def nmi(vectors: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Normalised mutual information of labels and as many k-means clusters, after PCA to 48 dimensions."""
    reduced = PCA(min(48, *vectors.shape), random_state=seed).fit_transform(_unit(vectors))
    means = KMeans(len(np.unique(labels)), n_init=2, random_state=seed).fit(reduced)
    return float(normalized_mutual_info_score(labels, means.labels_))


def recall_at(questions: np.ndarray, asked: np.ndarray, vectors: np.ndarray, labels: np.ndarray, k: int = 10):
    """By question, whether a clip of the category asked for is among the first k: 0.0 or 1.0."""
    order = np.argsort(-(_unit(questions) @ _unit(vectors).T), axis=1, kind="stable")[:, :k]
    return (labels[order] == asked[:, None]).any(1).astype(float)


def tells_direction(forward: np.ndarray, backward: np.ndarray, groups: np.ndarray, folds: int = 4) -> float:
    """Accuracy of a linear probe on whether a clip runs forward, on groups that it was not fitted on."""
    places = np.unique(groups, return_inverse=True)[1] % folds
    right = []
    for fold in range(folds):
        fit, test = places != fold, places == fold
        probe = RidgeClassifier(alpha=0.1)
        probe.fit(np.concatenate([forward[fit], backward[fit]]), np.repeat([1, 0], fit.sum()))
        right += [probe.predict(forward[test]) == 1, probe.predict(backward[test]) == 0]
    return float(np.concatenate(right).mean())


def interval(values: np.ndarray, draws: int = 2_000, seed: int = 0) -> list[float]:
    """Bootstrap interval (95 %) of a mean over clips, NaN left out."""
    values = values[~np.isnan(values)]
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
    return [round(float(bound), 4) for bound in np.quantile(means, (0.025, 0.975))]


def compared(vectors: dict[str, np.ndarray], labels: np.ndarray, baseline: str = "mean") -> dict:
    """All of it for several kinds of vectors of the same clips, and the gain over one with its interval."""
    by_clip: dict[str, Callable] = {"mAP": average_precisions, "nearest": nearest_is_right}
    values = {
        name: {kind: measure(x, labels) for kind, x in vectors.items()} for name, measure in by_clip.items()
    }
    report: dict = {kind: {"NMI": round(nmi(x, labels), 4)} for kind, x in vectors.items()}
    for name, each in values.items():
        for kind, found in each.items():
            report[kind][name] = round(float(np.nanmean(found)), 4)
            report[kind][f"{name}_interval"] = interval(found)
            if kind != baseline:
                report[kind][f"{name}_over_{baseline}"] = interval(found - each[baseline])
    return report


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
