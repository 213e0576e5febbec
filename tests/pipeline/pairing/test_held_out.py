"""Pairs that a run is looked at with: targets that never train."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pairing.held_out import HeldOutStream, choose_held_out
from pipeline.pairing.plan import PairPlan, PairSettings
from pipeline.pairing.stream import PairStream
from tests.pipeline.pairing.test_stream import ENCODER, SETTINGS, catalog, number_of  # noqa: F401
from training.errors import NoBatch


def table(rows: list[tuple[str, str, str]], licence: str = "cc-by") -> dict[str, list]:
    """Columns of clips from (clip_id, category_id, split)."""
    ids, categories, splits = zip(*rows, strict=True)
    return {
        "clip_id": list(ids),
        "category_id": list(categories),
        "split": list(splits),
        "licence": [licence] * len(rows),
    }


ROWS = [
    *[(f"{c}{i}", c, "val" if i < 2 else "train") for c in "abc" for i in range(6)],
    *[(f"{c}{i}", c, "ood") for c in "xy" for i in range(4)],
]


def test_targets_never_train_and_references_have_the_category_they_should_have():
    pairs = choose_held_out(table(ROWS), PairSettings(), 100)
    training = set(PairPlan.build(table(ROWS), PairSettings()).clip_ids)
    assert {pair.target_id for pair in pairs} == {clip for clip, _, split in ROWS if split != "train"}
    for pair in pairs:
        assert pair.target_id not in training
        assert pair.same_id != pair.target_id
        assert pair.same_id[0] == pair.target_id[0] != pair.other_id[0]
        assert pair.group == ("unseen" if pair.target_id[0] in "xy" else "seen")
        assert (pair.other_id[0] in "xy") == (pair.group == "unseen")


def test_few_pairs_go_round_the_categories():
    pairs = choose_held_out(table(ROWS), PairSettings(), 3)
    assert {pair.target_id[0] for pair in pairs if pair.group == "seen"} == set("abc")
    assert sum(pair.group == "unseen" for pair in pairs) == 3


def test_a_category_held_out_by_the_pair_settings_is_unseen():
    pairs = choose_held_out(table(ROWS), PairSettings(held_out_categories=("c",)), 100)
    assert {pair.group for pair in pairs if pair.target_id[0] == "c"} == {"unseen"}


def test_without_held_out_clips_there_are_no_pairs():
    rows = [(clip, category, "train") for clip, category, _ in ROWS]
    assert choose_held_out(table(rows), PairSettings(), 10) == ()
    assert choose_held_out(table(ROWS, "all rights reserved"), PairSettings(licences=("cc-by",)), 10) == ()


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 200).map(str), st.sampled_from("abcd"), st.sampled_from(["train", "val", "ood"])
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[0],
    ),
    count=st.integers(1, 5),
    shuffle=st.randoms(use_true_random=False),
)
def test_pairs_are_a_pure_function_of_the_clips_whatever_their_order(rows, count, shuffle: random.Random):
    pairs = choose_held_out(table(rows), PairSettings(), count)
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert choose_held_out(table(mixed), PairSettings(), count) == pairs
    for group in ("seen", "unseen"):
        assert sum(pair.group == group for pair in pairs) <= count
    assert len({pair.target_id for pair in pairs}) == len(pairs)


@pytest.fixture(scope="module")
def held_out(catalog) -> HeldOutStream:  # noqa: F811
    """Two clips of each of the stream's categories held out."""
    live = type(catalog).open(catalog.uri)
    live.update("clips", [{"clip_id": f"{c}-{i}", "split": "val"} for c in "ab" for i in range(2)])
    return HeldOutStream.open(PairStream.open(live, ENCODER, SETTINGS), 8)


def test_the_two_batches_differ_by_their_references_alone(held_out):
    same, other = held_out.batch([0, 2])
    assert torch.equal(same.target_latents, other.target_latents)
    assert torch.equal(same.sample_seeds, other.sample_seeds)
    for row, pair in enumerate([held_out.pairs[0], held_out.pairs[2]]):
        assert (same.references.latents[row] == number_of(pair.same_id)).all()
        assert (other.references.latents[row] == number_of(pair.other_id)).all()
        assert (same.text_embeddings[row] == number_of(pair.target_id)).all()  # never dropped
    assert (held_out.empty_caption() == -1).all()


def test_features_that_are_missing_stop_the_run_with_their_sentence(held_out):
    import dataclasses

    pair = dataclasses.replace(held_out.pairs[0], same_id="gone")
    with pytest.raises(NoBatch, match="gone"):
        dataclasses.replace(held_out, pairs=(pair,)).batch([0])
