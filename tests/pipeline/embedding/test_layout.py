"""The map of clips: what is alike lies together, and a lasso catches what is inside."""

import numpy as np
import pytest

from pipeline.embedding.layout import inside, layout


def test_clips_of_one_kind_lie_together_and_the_map_is_the_same_each_time():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 64)) * 3
    kinds = np.repeat(np.arange(4), 30)
    vectors = centres[kinds] + rng.normal(size=(120, 64))
    places = layout(vectors)
    assert places.shape == (120, 2)
    assert places.min() == 0.0
    assert places.max() == 1.0
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (kinds[apart.argmin(axis=1)] == kinds).mean() > 0.95
    assert np.array_equal(layout(vectors), places)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_few_clips_have_places_too(count):
    places = layout(np.ones((count, 16)))
    assert places.shape == (count, 2)
    assert len(np.unique(places, axis=0)) == count


def test_clips_that_are_all_the_same_are_drawn():
    assert np.isfinite(layout(np.ones((40, 16)))).all()


def test_a_lasso_catches_what_is_inside_whatever_its_shape():
    horseshoe = np.array([(0, 0), (1, 0), (1, 1), (0.7, 1), (0.7, 0.3), (0.3, 0.3), (0.3, 1), (0, 1)])
    places = np.array([(0.15, 0.8), (0.5, 0.8), (0.85, 0.8), (0.5, 0.15), (1.5, 0.5), (-0.1, 0.5)])
    assert inside(places, horseshoe).tolist() == [True, False, True, True, False, False]
