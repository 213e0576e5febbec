"""The learning test: a few hundred steps teach the hypernetwork to look at its reference.

The same steps with references of arbitrary categories must teach nothing of the kind, or the gap would
measure something else.
"""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, teach
from pipeline.pocket.pairs import TEST_FROM, TRAIN_FROM, Pairs
from training.backbones.base import Backbone
from training.backbones.registry import load_backbone
from training.evaluation.transfer_gap import pair_losses

CATEGORIES = ("posterise", "dissolve")
LESSONS = Lessons(
    category_steps=60,
    regression_steps=150,
    steps=10,
    teacher="clips",
    clips=12,
    batch=4,
    references_batch=16,
    categories=CATEGORIES,
    precision="float32",
)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(pocket_settings())


@pytest.fixture(scope="module")
def pairs(backbone, tmp_path_factory) -> Pairs:
    folder = tmp_path_factory.mktemp("clips")
    return Pairs.load(backbone, folder, TRAIN_FROM, 12, categories=CATEGORIES, precision="float32")


@pytest.fixture(scope="module")
def held(backbone, tmp_path_factory) -> Pairs:
    folder = tmp_path_factory.mktemp("held")
    return Pairs.load(backbone, folder, TEST_FROM, 6, categories=CATEGORIES, precision="float32")


def advantages(backbone: Backbone, pairs: Pairs, held: Pairs, work, references) -> np.ndarray:
    """Of the right category over another one, log(loss of other / loss of same), for each clip that was not
    trained on; its losses are means over three references of either kind and six noises."""
    method = teach(backbone, pairs, POCKET_METHOD, replace(LESSONS, references=references), work).method
    batches = []
    for seed in range(3):
        targets, same, other = map(list, zip(*held.held_out(CATEGORIES, seed), strict=True))
        batches.append((held.batch(targets, same, seed), held.batch(targets, other, seed)))
    losses = pair_losses(method, batches, draws=2)
    same, other = (values.reshape(len(batches), -1).mean(axis=0) for values in (losses.same, losses.other))
    return np.log(other / same)


@pytest.mark.slow
def test_the_right_references_open_a_gap_and_shuffled_ones_do_not(backbone, pairs, held, tmp_path):
    taught, broken = (advantages(backbone, pairs, held, tmp_path, kind) for kind in ("same", "shuffled"))
    gained = taught - broken  # clip by clip: the same target, references, noises and steps
    # Where it was written: 0.23, 6.4 standard errors, every clip gains; the control 0.007.
    assert gained.mean() > 3 * gained.std(ddof=1) / len(gained) ** 0.5
    assert gained.mean() > 0.05
    assert abs(broken.mean()) < 0.2 * taught.mean()
