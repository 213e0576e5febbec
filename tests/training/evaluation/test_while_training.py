"""What a run is looked at with; with two workers it is tested where a run is (tests/jobs/test_train.py)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.small_backbones import LATENTS, build_method, disturb, load_backbone, random_batch
from training.evaluation.transfer_gap import pair_losses, transfer_gap
from training.evaluation.while_training import EvaluateTransfer, SampleVideos, spread


@dataclass
class Pairs:
    """Three pairs made from their numbers, two of them of categories that train."""

    groups: tuple[str, ...] = ("seen", "unseen", "seen")
    categories: tuple[str, ...] = ("melt", "glow", "melt")

    def batch(self, numbers):
        same, other = random_batch(*(1 + n for n in numbers)), random_batch(*(11 + n for n in numbers))
        return same, replace(same, references=other.references)

    def empty_caption(self):
        return torch.zeros_like(random_batch(1).text_embeddings[0])


class Writer:
    """Keeps the frames instead of writing them."""

    def __init__(self):
        self.written: dict[str, np.ndarray] = {}

    def __call__(self, frames: np.ndarray, path: Path) -> None:
        self.written[path.name] = frames


@pytest.fixture(scope="module")
def method(tiny_folder):
    return disturb(build_method(tiny_folder), size=0.5)


def test_the_gap_of_each_group_is_that_of_its_own_pairs_however_they_are_batched(method):
    evaluations = [EvaluateTransfer(Pairs(), size, draws=2) for size in (1, 2, 3)]
    rows = [each.row([each.measure(method)]) for each in evaluations]
    losses = pair_losses(method, [Pairs().batch([0, 2])], draws=2)
    expected = transfer_gap(losses)
    for row in rows:
        assert row["gap_seen"] == pytest.approx(expected.gap, rel=1e-3)
        assert (row["pairs_seen"], row["pairs_unseen"]) == (2, 1)
        assert row["gap_unseen_low"] <= row["gap_unseen"] <= row["gap_unseen_high"]
        # Here each group is one category.
        assert row["gap_of/melt"] == pytest.approx(row["gap_seen"])
        assert row["gap_of/glow"] == pytest.approx(row["gap_unseen"])


def test_samples_show_every_group_and_are_the_same_again(method, tiny_folder, tmp_path):
    first, second = Writer(), Writer()
    for writer in (first, second):
        settings = load_backbone(tiny_folder).settings
        SampleVideos(settings, Pairs(), 2, writer, steps=2)(method, tmp_path)
    assert [name.split("-")[0] for name in first.written] == ["seen", "unseen"]
    for name, frames in first.written.items():
        assert frames.shape == ((LATENTS[0] - 1) * 4 + 1, LATENTS[2] * 8, LATENTS[3] * 8, 3)
        assert frames.dtype == np.uint8
        assert (frames == second.written[name]).all()


@pytest.mark.parametrize("together", [False, True])
def test_samples_are_shared_by_the_workers_and_made_once_each(method, tiny_folder, tmp_path, together):
    settings, alone = load_backbone(tiny_folder).settings, Writer()
    SampleVideos(settings, Pairs(), 3, alone, steps=1)(method, tmp_path)
    shares = [Writer(), Writer()]
    for worker, writer in enumerate(shares):
        SampleVideos(settings, Pairs(), 3, writer, steps=1)(method, tmp_path, worker, 2, together)
    assert [len(writer.written) for writer in shares] == [2, 1]
    written = shares[0].written | shares[1].written
    assert written.keys() == alone.written.keys()
    assert all((written[name] == frames).all() for name, frames in alone.written.items())


def test_figures_of_pairs_shared_by_three_workers_are_those_of_one(method):
    evaluation = EvaluateTransfer(Pairs(), draws=1)
    alone = evaluation.row([evaluation.measure(method)])
    shared = EvaluateTransfer(Pairs(), draws=1)
    assert shared.row([shared.measure(method, worker, 3) for worker in range(3)]) == alone


def test_samples_go_through_the_groups_in_turn():
    assert spread(["a", "a", "b", "a", "b"], 4) == [0, 2, 1, 4]
    assert spread(["a"], 4) == [0]
    assert spread([], 2) == []
