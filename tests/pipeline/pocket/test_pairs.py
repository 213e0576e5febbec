"""The pairs of the pocket backbone: what they claim about categories, and what the controls change."""

import pytest
import torch

from pipeline.pocket.backbone import NAMES
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM
from pipeline.samples.draw import HELD_OUT, draw_clip
from pipeline.samples.effects import EFFECTS
from pipeline.samples.splits import DEVELOPMENT, SEEN, UNSEEN, kinds_of, unseen_of
from tests.benchmarks.effect_clips import TEST_FROM as CLASSIFIER_TEST
from tests.benchmarks.effect_clips import TRAIN_FROM as CLASSIFIER_TRAIN
from tests.pipeline.pocket.clips import random_pairs

PER_CATEGORY = 3


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return random_pairs(tmp_path_factory.mktemp("pairs"), PER_CATEGORY)


def categories(batch) -> list[tuple[str, str]]:
    return [tuple(NAMES[int(part) % len(NAMES)] for part in pair.split("<-")) for pair in batch.pair_ids]


def test_a_numbers_category_is_the_same_in_every_set():
    for first in (0, HELD_OUT, TRAIN_FROM, TEST_FROM, CLASSIFIER_TRAIN, CLASSIFIER_TEST):
        assert draw_clip(first + 5, 1, 16, 16)[2] == NAMES[5]


def test_a_backbone_of_the_first_categories_alone_keeps_every_fifth_from_the_hypernetwork():
    first = tuple(EFFECTS)
    assert unseen_of(first) == set(first[2::5])
    assert kinds_of(DEVELOPMENT, first) == {"unseen": first[2::5]}
    assert unseen_of(NAMES) == UNSEEN and kinds_of(DEVELOPMENT, NAMES) == DEVELOPMENT
    few = (*DEVELOPMENT["value"][:2], *SEEN[:2])
    assert unseen_of(few) == set(few[:2])
    assert kinds_of(DEVELOPMENT, few) == {"combination": (), "value": few[:2], "family": ()}


def test_training_pairs_are_two_clips_of_one_seen_category(pairs):
    batches = [pairs.training(step, 8, 0, "same") for step in range(20)]
    found = [pair for batch in batches for pair in categories(batch)]
    assert all(pair.split("<-")[0] != pair.split("<-")[1] for batch in batches for pair in batch.pair_ids)
    assert all(target == reference for target, reference in found)
    assert {target for target, _ in found} <= set(SEEN)
    assert all(
        batch.references.categories == tuple(name for _, name in categories(batch)) for batch in batches
    )


def test_the_controls_change_the_references_and_nothing_else(pairs):
    same, shuffled, blank = (pairs.training(3, 16, 0, kind) for kind in ("same", "shuffled", "blank"))
    for other in (shuffled, blank):
        assert torch.equal(same.target_latents, other.target_latents)
        assert torch.equal(same.noise, other.noise)
        assert torch.equal(same.sample_seeds, other.sample_seeds)
        assert torch.equal(same.text_embeddings, other.text_embeddings)
    assert any(target != reference for target, reference in categories(shuffled))
    assert not blank.references.latents.any()


def test_held_out_rows_pair_two_clips_of_a_category_beside_one_of_another_of_the_group(pairs):
    asked = DEVELOPMENT["value"]
    rows = pairs.held_out(asked, seed=0)
    assert len(rows) == PER_CATEGORY * len(asked)
    for target, same, other in rows:
        assert target != same
        assert pairs.category_of(target) == pairs.category_of(same) != pairs.category_of(other)
        assert {pairs.category_of(each) for each in (target, same, other)} <= set(asked)
