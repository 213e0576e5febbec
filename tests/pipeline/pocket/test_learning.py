"""The learning test: a few hundred steps teach the hypernetwork to look at its reference.

The same steps with references of arbitrary categories must teach nothing of the kind, or the gap would
measure something else.
"""

from dataclasses import replace

import pytest

from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, teach
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.evaluation.transfer_gap import TransferGap, pair_losses, transfer_gap

EFFECTS = (0, 1, 5, 9)
LESSONS = Lessons(
    category_steps=120,
    regression_steps=200,
    steps=20,
    clips=12,
    batch=4,
    references_batch=16,
    effects=EFFECTS,
)


@pytest.fixture(scope="module")
def backbone() -> CogVideoXBackbone:
    return CogVideoXBackbone.load(pocket_settings())


@pytest.fixture(scope="module")
def pairs(backbone, tmp_path_factory) -> Pairs:
    return Pairs.load(backbone, tmp_path_factory.mktemp("clips"), TRAIN_FROM, 12, effects=EFFECTS)


@pytest.fixture(scope="module")
def held(backbone, tmp_path_factory) -> Pairs:
    return Pairs.load(backbone, tmp_path_factory.mktemp("held"), TEST_FROM, 6, effects=EFFECTS)


def gap(backbone: CogVideoXBackbone, pairs: Pairs, held: Pairs, work, references) -> TransferGap:
    """Of clips that were not trained on."""
    method, _ = teach(backbone, pairs, POCKET_METHOD, replace(LESSONS, references=references), work)
    rows = held.held_out(EFFECTS, seed=0)
    targets, same, other = (list(column) for column in zip(*rows, strict=True))
    batches = [(held.batch(targets, same, 0), held.batch(targets, other, 0))]
    return transfer_gap(pair_losses(method, batches, draws=3))


@pytest.mark.slow
def test_the_right_references_open_a_gap_and_shuffled_ones_do_not(backbone, pairs, held, tmp_path):
    taught, broken = (gap(backbone, pairs, held, tmp_path, kind) for kind in ("same", "shuffled"))
    assert taught.low > 0.03
    assert abs(broken.gap) < 0.01
