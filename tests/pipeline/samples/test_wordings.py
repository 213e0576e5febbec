"""How people would ask for an effect."""

from itertools import chain

import pytest

from pipeline.samples.categories import CATEGORIES, UnknownEffect
from pipeline.samples.wordings import wordings


def test_every_category_has_wordings_to_teach_and_others_to_ask_that_no_category_shares():
    every = {name: wordings(name) for name in CATEGORIES}
    for name, found in every.items():
        assert len(found.taught) >= 3 and found.held_out, name
        assert not any("{" in text for text in (*found.taught, *found.held_out)), name
    texts = list(chain.from_iterable((*each.taught, *each.held_out) for each in every.values()))
    assert len(texts) == len(set(texts))


def test_a_composition_says_both_and_in_which_order():
    first, then = (wordings(name).taught[2] for name in ("gild_then_melt", "pan_left_then_zoom_in"))
    assert first.index("gold") < first.index("melt")
    assert then.index("left") < then.index("zoom")


def test_an_unknown_category_is_refused_with_the_nearest():
    with pytest.raises(UnknownEffect, match="melt"):
        wordings("meltt")
