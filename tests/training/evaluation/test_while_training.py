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
    rows = [EvaluateTransfer(Pairs(), size, draws=2)(method, step=1) for size in (1, 2, 3)]
    losses = pair_losses(method, [Pairs().batch([0, 2])], draws=2)
    expected = transfer_gap(losses)
    for row in rows:
        assert row["gap_seen"] == pytest.approx(expected.gap, rel=1e-3)
        assert (row["pairs_seen"], row["pairs_unseen"]) == (2, 1)
        assert row["gap_unseen_low"] <= row["gap_unseen"] <= row["gap_unseen_high"]


def test_samples_show_every_group_and_are_the_same_again(method, tiny_folder, tmp_path):
    first, second = Writer(), Writer()
    for writer in (first, second):
        settings = load_backbone(tiny_folder).settings
        SampleVideos(settings, Pairs(), 2, writer, steps=2)(method, 5, tmp_path)
    assert [name.split("-")[0] for name in first.written] == ["seen", "unseen"]
    for name, frames in first.written.items():
        assert frames.shape == ((LATENTS[0] - 1) * 4 + 1, LATENTS[2] * 8, LATENTS[3] * 8, 3)
        assert frames.dtype == np.uint8
        assert (frames == second.written[name]).all()


def test_a_worker_that_only_helps_writes_nothing(method, tiny_folder):
    writer = Writer()
    SampleVideos(load_backbone(tiny_folder).settings, Pairs(), 1, writer, steps=1)(method, 5, None)
    assert not writer.written


def test_samples_go_through_the_groups_in_turn():
    assert spread(["a", "a", "b", "a", "b"], 4) == [0, 2, 1, 4]
    assert spread(["a"], 4) == [0]
    assert spread([], 2) == []
