"""Intervals over categories, and what two models measured on the same clips tell apart."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import BadFigures
from training.evaluation.intervals import (
    drawn_interval,
    mean_interval,
    paired_difference,
    relative_reduction,
    win_rate,
)

TWO = ["melt"] * 50 + ["spin"] * 50


def test_intervals_are_drawn_over_categories_and_not_over_their_clips():
    found = mean_interval([1.0] * 50 + [0.0] * 50, TWO)
    assert (found.value, found.low, found.high) == (0.5, 0, 1), (
        "two categories that disagree say nothing about a third"
    )
    assert (found.items, found.clusters) == (100, 2)


def test_one_category_says_nothing_about_others():
    found = mean_interval([0.2, 0.4], ["melt", "melt"])
    assert found.value == pytest.approx(0.3) and not found.known
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert json.loads(json.dumps(found.to_dict()))["low"] is None


def test_a_difference_between_categories_does_not_hide_one_within_all_of_them():
    """Paired: how good a category is at all falls out."""
    draw = np.random.default_rng(0)
    names = [f"effect {n}" for n in range(20) for _ in range(3)]
    level = np.repeat(draw.normal(0, 10, 20), 3)
    ours, theirs = level + 0.3 + draw.normal(0, 0.1, 60), level + draw.normal(0, 0.1, 60)
    paired = paired_difference(ours, theirs, names)
    assert paired.low > 0.2 and paired.high < 0.4
    assert mean_interval(ours, names).low < mean_interval(theirs, names).value


def test_a_tie_is_half_a_win_and_a_loss_is_a_win_where_less_is_better():
    ours, theirs, names = [1, 2, 3, 4], [1, 1, 4, 5], ["a", "a", "b", "b"]
    assert win_rate(ours, theirs, names).value == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert win_rate(ours, theirs, names, higher_is_better=False).value == pytest.approx((0.5 + 0 + 1 + 1) / 4)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=12), st.data())
def test_who_is_asked_first_turns_a_comparison_round(pairs, data):
    names = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=len(pairs), max_size=len(pairs)))
    ours, theirs = (list(side) for side in zip(*pairs, strict=True))
    forth, back = win_rate(ours, theirs, names), win_rate(theirs, ours, names)
    assert forth.value == pytest.approx(1 - back.value)
    assert forth.low == pytest.approx(1 - back.high)
    assert paired_difference(ours, theirs, names).low == pytest.approx(
        -paired_difference(theirs, ours, names).high
    )


def test_a_share_that_is_the_same_everywhere_has_no_spread():
    found = relative_reduction(np.full(100, 0.9), np.full(100, 1.0), TWO)
    assert [found.value, found.low, found.high] == pytest.approx([0.1] * 3)


def test_a_figure_that_is_no_mean_is_drawn_over_categories_too():
    values = np.array([1.0] * 50 + [0.0] * 50)
    found = drawn_interval(lambda places: float(values[places].mean()), TWO)
    assert found.value == 0.5 and [found.low, found.high] == pytest.approx([0, 1], abs=0.1)
    grown = drawn_interval(lambda places: 10.0 + len(set(places.tolist())) / 100, TWO)
    assert grown.low <= grown.value <= grown.high, (
        "what falls where items repeat is around its value all the same"
    )
    lonely = drawn_interval(lambda places: float(values[places].max()), ["melt"] * 100)
    assert lonely.value == 1 and not lonely.known


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(1)
    names = [str(n) for n in range(30) for _ in range(4)]
    hits = 0
    for _ in range(200):
        values = np.repeat(draw.normal(0, 1, 30), 4) + draw.normal(0, 1, 120)
        found = mean_interval(values, names, resamples=300)
        hits += found.low <= 0 <= found.high
    assert 0.86 <= hits / 200 <= 0.99, "drawn over clips it would be about 0.7"


@pytest.mark.parametrize(
    ("values", "names", "said"),
    [
        ([], [], "no clip was measured"),
        ([1.0, math.nan], ["a", "b"], "1 of 2 figures are not finite"),
        ([1.0], ["a", "b"], "1 values, 2 names"),
    ],
)
def test_figures_that_nothing_can_be_said_of_are_refused(values, names, said):
    with pytest.raises(BadFigures, match=said):
        mean_interval(values, names)


def test_pairs_that_do_not_match_are_refused():
    with pytest.raises(BadFigures, match="2 and 3"):
        paired_difference([1, 2], [1, 2, 3], ["a", "b"])
    with pytest.raises(BadFigures, match="all zero"):
        relative_reduction([0.0], [0.0], ["a"])
