"""Texts that teach what words mean."""

import re

import numpy as np

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.phrases import PHRASES, texts_about
from pipeline.samples.splits import SEEN
from pipeline.samples.wordings import wordings

# Words that tell nothing of an effect, or that every effect with a direction shares.
PLAIN = """the and its with from like that into for are was then one out off left right down
subject picture image camera view video clip lens frame everything"""


def telling(text: str) -> frozenset[str]:
    """The words of a text that say something, without their endings."""
    words = (
        word for word in re.findall("[a-z]+", text.lower()) if len(word) > 2 and word not in PLAIN.split()
    )
    return frozenset(re.sub("(ing|ed|es|s|ly)$", "", word) for word in words)


def test_every_taught_category_has_many_texts_and_the_same_ones_again():
    for name in SEEN:
        texts = texts_about(name, 30, np.random.default_rng(0))
        assert len(texts) >= 15 and len(set(texts)) == len(texts), name
        assert not any(re.search("[{}@]", text) for text in texts), name
    assert texts == texts_about(SEEN[-1], 30, np.random.default_rng(0))


def test_what_is_taught_about_an_effect_is_not_what_searches_are_judged_by():
    asked = {text for name in CATEGORIES for text in wordings(name).held_out}
    for name in SEEN:
        effect, found = CATEGORIES[name], wordings(name)
        assert not asked.intersection(texts_about(name, 200, np.random.default_rng(1))), name
        if effect.parts == (name,):
            own = {telling(phrase) for phrase in PHRASES["effects"][name] if not phrase.startswith("@")}
            assert all(len(one & telling(text)) < 2 for one in own for text in found.held_out), name
