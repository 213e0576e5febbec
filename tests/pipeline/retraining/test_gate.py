"""The gate as a function of losses: what passes, what does not, and how it says why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.retraining.gate import SEEN, UNSEEN, Losses, judge, named_margins
from pipeline.retraining.settings import RetrainSettings
from training.errors import BadFigures

RULES = RetrainSettings()
PER_CATEGORY = 8
CATEGORIES = tuple(f"c{n}" for n in range(12))
# The last three never train.
NEW = CATEGORIES[-3:]


def losses(better_by: dict[str, float], noise: float = 0.002, categories=CATEGORIES) -> Losses:
    """Losses of both models; the challenger's are lower by a share, by category, give or take."""
    drawn = np.random.default_rng(7)
    of = tuple(name for name in categories for _ in range(PER_CATEGORY))
    champion = drawn.uniform(0.5, 1.5, len(of))
    share = np.array([better_by.get(name, 0.0) for name in of]) + drawn.normal(0, noise, len(of))
    groups = tuple(UNSEEN if name in NEW else SEEN for name in of)
    return Losses(champion, champion * (1 - share), of, groups, tuple(map(str, range(len(of)))))


def everywhere(share: float) -> dict[str, float]:
    return dict.fromkeys(CATEGORIES, share)


def test_a_challenger_that_is_better_everywhere_passes_and_says_by_how_much():
    judged = judge(losses(everywhere(0.03)), RULES)
    assert judged.passed
    assert judged.checks[0].value == pytest.approx(0.03, abs=0.001)
    assert "96 pairs of 12 categories" in judged.reasons[0]
    assert judged.reasons[-1] == "none of 12 categories is worse by more than its margin"


def test_an_equal_challenger_does_not_pass():
    judged = judge(losses({}), RULES)
    assert not judged.passed
    assert "at least 0.5 % lower is asked for, for sure: not passed" in judged.reasons[0]


def test_better_by_less_than_is_asked_for_is_not_enough():
    found = losses(everywhere(0.02))
    assert judge(found, RULES).passed
    assert not judge(found, RULES.model_copy(update={"delta": 0.03})).passed


def test_a_mean_that_a_few_lucky_categories_carry_is_no_certainty():
    lucky = {name: 0.2 if name in CATEGORIES[:2] else -0.004 for name in CATEGORIES}
    found = losses(lucky)
    assert 1 - found.challenger.mean() / found.champion.mean() > RULES.delta
    assert not judge(found, RULES).passed


def test_one_category_that_is_worse_by_more_than_its_margin_is_enough_to_fail_and_is_named():
    found = losses(everywhere(0.06) | {"c4": -0.08})
    judged = judge(found, RULES)
    assert not judged.passed
    [named] = [reason for reason in judged.reasons if "of c4" in reason]
    assert "at most 5 % higher is asked for, for sure: not passed" in named
    assert judge(found, RULES.model_copy(update={"margins": {"c4": 0.2}})).passed


def test_unseen_categories_that_get_worse_fail_though_the_whole_gets_better():
    judged = judge(losses(everywhere(0.06) | dict.fromkeys(NEW, -0.03)), RULES)
    assert not judged.passed
    assert "of categories that never trained the loss is 3.0" in judged.reasons[1]


def test_a_holdout_without_unseen_categories_passes_nobody():
    judged = judge(losses(everywhere(0.1), categories=CATEGORIES[:-3]), RULES)
    assert not judged.passed
    assert "no category that never trained is in the holdout" in judged.reasons[-2]


def test_more_looks_ask_for_more_certainty():
    found = losses({name: 0.03 if n % 2 else -0.005 for n, name in enumerate(CATEGORIES)}, noise=0.02)
    widths = []
    for looks in (1, 5, 50):
        [whole] = [
            c for c in judge(found, RULES.model_copy(update={"looks": looks})).checks if c.name == "whole"
        ]
        widths.append(whole.high - whole.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_one_unseen_category_is_judged_by_its_pairs_and_this_is_said():
    only = losses(everywhere(0.05), categories=CATEGORIES[:-2])
    judged = judge(only, RULES)
    assert judged.passed
    assert "an interval over its pairs, for one category has no other" in judged.reasons[1]


def test_losses_that_are_not_finite_are_no_figures():
    found = losses(everywhere(0.05))
    found.challenger[3] = np.nan
    with pytest.raises(BadFigures):
        judge(found, RULES)


@settings(max_examples=8, deadline=None)
@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.1))
def test_a_challenger_that_is_better_still_never_fails_where_a_worse_one_passed(share, more):
    if judge(losses(everywhere(share)), RULES).passed:
        assert judge(losses(everywhere(share + more)), RULES).passed


def test_margins_follow_a_category_that_is_renamed():
    rules = RULES.model_copy(update={"margins": {"id-of-melt": 0.02, "pan": 0.1}})
    assert named_margins(rules, {"id-of-melt": "Melts away"}).margins == {"Melts away": 0.02, "pan": 0.1}
