"""How near to a category is near enough, found on labels that are held out."""

import numpy as np
import pytest

from pipeline.curation.thresholds import calibrate, unit_means

DIM = 16


def members(axis: int, count: int, spread: float) -> np.ndarray:
    drawn = np.eye(DIM)[axis] + np.random.default_rng(axis).normal(0, spread, (count, DIM))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def labelled(*groups: tuple[int, int, float]) -> tuple[np.ndarray, np.ndarray]:
    vectors = np.concatenate([members(*group) for group in groups])
    return vectors, np.repeat(np.arange(len(groups)), [count for _, count, _ in groups])


def test_a_loose_category_takes_in_what_a_tight_one_would_refuse():
    found = calibrate(
        *labelled((0, 40, 0.02), (1, 40, 0.25), (2, 40, 0.1)), ["tight", "loose", "other"], 0.75
    )
    assert found["tight"].similarity > found["other"].similarity > found["loose"].similarity
    for threshold in found.values():
        assert threshold.labels == 40
        assert threshold.precision > 0.95 and threshold.recall > 0.8


def test_a_category_with_few_labels_leans_on_all_others():
    vectors, labels = labelled((0, 40, 0.1), (1, 40, 0.1), (2, 1, 0.1))
    found = calibrate(vectors, labels, ["a", "b", "single"], 0.75)
    assert min(found["a"].similarity, found["b"].similarity) * 0.9 < found["single"].similarity
    assert (found["single"].labels, found["single"].recall) == (0, None)


def test_the_precision_told_is_that_of_clips_of_a_category_nobody_knows():
    vectors, labels = labelled((0, 60, 0.2), (1, 60, 0.2), (2, 60, 0.2), (3, 60, 0.2))
    known = labels < 3
    found = calibrate(vectors[known], labels[known], ["a", "b", "c"], 0.75)
    prototypes, _ = unit_means(vectors[known], labels[known], 3)
    cosines = vectors[~known] @ prototypes.T
    names = ["a", "b", "c"]
    taken = [row.max() >= found[names[row.argmax()]].similarity for row in cosines]
    assert np.mean(taken) < 0.1


@pytest.mark.parametrize(
    ("groups", "names"), [(((0, 1, 0.1), (1, 1, 0.1)), ["a", "b"]), (((0, 9, 0.1),), ["a"])]
)
def test_without_labels_to_hold_out_the_setting_counts(groups, names):
    found = calibrate(*labelled(*groups), names, 0.6)
    assert {threshold.similarity for threshold in found.values()} == {0.6}
    assert {threshold.precision for threshold in found.values()} == {None}
