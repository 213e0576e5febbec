from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.small_backbones import build_method, disturb, random_batch
from training.errors import BadBatch
from training.evaluation.transfer_gap import PairLosses, pair_losses, transfer_gap


def with_references_of(batch, other):
    return replace(batch, references=other.references)


def test_the_three_losses_differ_by_the_adapter_alone(tiny_folder):
    method = disturb(build_method(tiny_folder), size=0.5)
    same = random_batch(1, 2)
    other = with_references_of(same, random_batch(3, 4))
    losses = pair_losses(method, [(same, other)], draws=2)
    assert losses.pair_ids == tuple(same.pair_ids)
    assert (losses.same != losses.other).all()
    assert (losses.same != losses.none).all()
    swapped = pair_losses(method, [(other, same)], draws=2)
    np.testing.assert_allclose(swapped.same, losses.other, rtol=1e-5)
    np.testing.assert_allclose(swapped.none, losses.none, rtol=1e-5)


def test_at_identity_the_gap_is_exactly_zero(tiny_folder):
    method = build_method(tiny_folder)
    same = random_batch(1, 2)
    losses = pair_losses(method, [(same, with_references_of(same, random_batch(3, 4)))], draws=1)
    gap = transfer_gap(losses)
    assert gap.gap == gap.low == gap.high == 0
    assert gap.loss_same == gap.loss_none


def test_a_pairs_losses_do_not_depend_on_how_pairs_are_batched(tiny_folder):
    method = disturb(build_method(tiny_folder))
    same = random_batch(1, 2)
    other = with_references_of(same, random_batch(3, 4))
    whole = pair_losses(method, [(same, other)], draws=1)
    rows = pair_losses(method, [(same.select([i]), other.select([i])) for i in (0, 1)], draws=1)
    np.testing.assert_allclose(whole.same, rows.same, rtol=1e-5)
    np.testing.assert_allclose(whole.other, rows.other, rtol=1e-5)


def test_the_gap_is_the_relative_difference_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    other = rng.uniform(0.8, 1.2, 60)
    same = other * rng.normal(0.9, 0.05, 60)
    losses = PairLosses(tuple(map(str, range(60))), same, other, other)
    gap = transfer_gap(losses)
    assert gap.gap == pytest.approx((other.mean() - same.mean()) / other.mean())
    assert 0 < gap.low < gap.gap < gap.high
    assert gap == transfer_gap(losses)
    assert transfer_gap(losses, chosen=range(10)).pairs == 10
    assert gap.to_dict()["pairs"] == 60


def test_bad_pairs_are_refused(tiny_folder):
    method = build_method(tiny_folder)
    with pytest.raises(BadBatch, match="same targets and seeds"):
        pair_losses(method, [(random_batch(1), random_batch(2))])
    with pytest.raises(BadBatch, match="at least one"):
        pair_losses(method, [])
    with pytest.raises(BadBatch, match="none were chosen"):
        transfer_gap(PairLosses(("a",), np.ones(1), np.ones(1), np.ones(1)), chosen=[])
    assert torch.is_grad_enabled()


def test_what_targets_are_denoised_under_can_be_made_otherwise(tiny_folder):
    method = disturb(build_method(tiny_folder), size=0.5)
    same = random_batch(1, 2)
    batches = [(same, with_references_of(same, random_batch(3, 4)))]
    predicted = pair_losses(method, batches, draws=1)
    silent = pair_losses(
        method,
        batches,
        draws=1,
        condition=lambda batch: method.adapters.silent(method.condition(batch.references)),
    )
    assert (predicted.same != predicted.none).all()
    np.testing.assert_array_equal(silent.same, silent.none)
