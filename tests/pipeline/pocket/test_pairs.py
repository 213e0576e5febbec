"""The learning benchmark's pairs: what they claim about categories, and what its controls change."""

import pytest
import torch

from pipeline.pocket.backbone import HELD_OUT
from pipeline.pocket.pairs import NAMES, SEEN, TEST_FROM, TRAIN_FROM, UNSEEN
from pipeline.samples.draw import draw_clip
from tests.benchmarks.effect_classifier import TEST_FROM as CLASSIFIER_TEST
from tests.benchmarks.effect_classifier import TRAIN_FROM as CLASSIFIER_TRAIN
from tests.pipeline.pocket.clips import random_pairs

PER_EFFECT = 3


@pytest.fixture
def pairs(tmp_path):
    return random_pairs(tmp_path, PER_EFFECT)


def effects(batch) -> list[tuple[int, int]]:
    return [tuple(int(part) % len(NAMES) for part in pair.split("<-")) for pair in batch.pair_ids]


def test_six_categories_at_least_are_never_trained_and_a_numbers_effect_is_the_same_in_every_set():
    assert len(UNSEEN) >= 6 and len(SEEN) >= 18 and not set(SEEN) & set(UNSEEN)
    for first in (0, HELD_OUT, TRAIN_FROM, TEST_FROM, CLASSIFIER_TRAIN, CLASSIFIER_TEST):
        assert draw_clip(first + 5, 1, 16, 16)[2] == NAMES[5]


def test_training_pairs_are_two_clips_of_one_seen_category(pairs):
    batches = [pairs.training(step, 8, 0, "same") for step in range(20)]
    found = [pair for batch in batches for pair in effects(batch)]
    assert all(pair.split("<-")[0] != pair.split("<-")[1] for batch in batches for pair in batch.pair_ids)
    assert all(target == reference for target, reference in found)
    assert {target for target, _ in found} <= set(SEEN)


def test_the_controls_change_the_references_and_nothing_else(pairs):
    same, shuffled, blank = (pairs.training(3, 16, 0, kind) for kind in ("same", "shuffled", "blank"))
    for other in (shuffled, blank):
        assert torch.equal(same.target_latents, other.target_latents)
        assert torch.equal(same.sample_seeds, other.sample_seeds)
        assert torch.equal(same.text_embeddings, other.text_embeddings)
    assert any(target != reference for target, reference in effects(shuffled))
    assert not blank.references.latents.any()


def test_held_out_rows_pair_two_clips_of_an_effect_beside_one_of_another_of_the_group(pairs):
    rows = pairs.held_out(UNSEEN, seed=0)
    assert len(rows) == PER_EFFECT * len(UNSEEN)
    for target, same, other in rows:
        assert target != same
        assert target % len(NAMES) == same % len(NAMES) != other % len(NAMES)
        assert {each % len(NAMES) for each in (target, same, other)} <= set(UNSEEN)
