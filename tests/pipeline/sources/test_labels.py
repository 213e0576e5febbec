import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.labels import normalise_label


@pytest.mark.parametrize(
    "spelling", ["melt", "Melt", "Melt it", "melt_it", "MELT-IT", "  melt  ", "Melt It!"]
)
def test_every_spelling_of_an_effect_is_one_category(spelling):
    assert normalise_label(spelling) == "melt"


@pytest.mark.parametrize(
    ("label", "category"),
    [
        ("Cake-ify", "cake_ify"),
        ("cakeify", "cake_ify"),
        ("shake_it_dance", "shake_it_dance"),
        ("Ta-da", "ta_da"),
        ("it", "it"),
        ("溶ける", "溶ける"),
    ],
)
def test_words_are_kept_and_separators_unified(label, category):
    assert normalise_label(label) == category


@pytest.mark.parametrize("nothing", [None, "", "  ", "--"])
def test_an_empty_label_is_no_label(nothing):
    assert normalise_label(nothing) is None


@settings(deadline=None)
@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(label):
    once = normalise_label(label)
    assert normalise_label(once) == once
