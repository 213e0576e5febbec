"""The Fréchet distance, held to its definition and to two implementations that others wrote."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from training.errors import BadFigures
from training.evaluation.frechet import ENOUGH, frechet_distance, frechet_figure, real_against_real


def drawn(number: int, size: int, seed: int, shift: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(shift, 1, (number, size)) @ np.random.default_rng(7).normal(0, 1, (size, size))


def test_it_is_the_distance_of_two_gaussians_as_it_is_defined():
    ours, theirs = drawn(40, 6, 0), drawn(60, 6, 1, shift=0.5)
    covariances = [np.cov(each, rowvar=False) for each in (ours, theirs)]
    expected = np.square(ours.mean(0) - theirs.mean(0)).sum() + np.trace(
        sum(covariances) - 2 * scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(ours, theirs) == pytest.approx(expected)


def test_torchmetrics_finds_the_same_between_sets_of_pictures():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Flat(nn.Module):
        num_features = 12

        def forward(self, pictures):
            return pictures.float().flatten(1)[:, :12] / 255

    draw = torch.Generator().manual_seed(0)
    sets = [torch.randint(0, top, (30, 3, 2, 2), generator=draw, dtype=torch.uint8) for top in (256, 180)]
    theirs = FrechetInceptionDistance(feature=Flat(), normalize=False).set_dtype(torch.float64)
    for pictures, real in zip(sets, (True, False), strict=True):
        theirs.update(pictures, real=real)
    ours = frechet_distance(*(Flat()(each).numpy() for each in sets))
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-4)


def test_with_fewer_videos_than_dimensions_nothing_has_to_be_added_to_the_diagonal():
    ours, theirs = drawn(5, 40, 0), drawn(5, 40, 1)
    covariances = [np.cov(each, rowvar=False) for each in (ours, theirs)]
    padded = [each + 1e-9 * np.eye(40) for each in covariances]
    expected = np.square(ours.mean(0) - theirs.mean(0)).sum() + np.trace(
        sum(padded) - 2 * scipy.linalg.sqrtm(padded[0] @ padded[1]).real
    )
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-3)
    assert frechet_distance(ours, ours) == pytest.approx(0, abs=1e-6)


def test_few_videos_are_far_from_themselves_and_the_figure_says_by_how_much():
    """Two samples of one Gaussian: the share of its variance falls with N."""
    pool = np.random.default_rng(0).normal(0, 1, (1200, 60))
    shares = [real_against_real(pool, number)[0] / 60 for number in (5, 48, 500)]
    assert shares[0] > shares[1] > shares[2] and shares[2] < 0.1
    assert real_against_real(pool[:7], 5)[1] == 3, "as many on each side as can be parted"
    assert real_against_real(pool[:3], 5)[0] is None


def test_a_figure_has_its_number_its_interval_and_real_against_real():
    names = [f"effect {n // 4}" for n in range(24)]
    figure = frechet_figure(drawn(24, 8, 0, 0.3), drawn(24, 8, 1), names, drawn(24, 8, 2), resamples=60)
    assert (figure.number, figure.real_number) == (24, 24)
    assert figure.name == "rank", f"below {ENOUGH} videos it only orders models"
    assert figure.distance.low <= figure.distance.value <= figure.distance.high
    assert figure.real_against_real < figure.distance.value
    assert figure.to_dict()["name"] == "rank"


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (np.zeros((1, 4)), np.zeros((3, 4)), "two videos on each side"),
        (np.zeros((3, 4)), np.zeros((3, 5)), "one length"),
        (np.full((3, 4), np.nan), np.zeros((3, 4)), "not finite"),
    ],
)
def test_features_that_have_no_distance_are_refused(ours, theirs, said):
    with pytest.raises(BadFigures, match=said):
        frechet_distance(ours, theirs)
