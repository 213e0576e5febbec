"""What a category is called: spellings, scripts, aliases, merges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UnknownCategory
from catalog.names import LONGEST, CategoryNames, key_of, normalise_label


def category(category_id: str, name: str | None = None, aliases: list[str] | None = None, merged_into=None):
    return {"category_id": category_id, "name": name, "aliases": aliases, "merged_into": merged_into}


@pytest.mark.parametrize(
    "spelling", ["melt", "Melt", "Melt it", "melt_it", "MELT-IT", "  melt  ", "Melt It!", "melt\u200d"]
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
        ("पानी", "पानी"),
        ("🔥", "🔥"),
        ("❤️ Melt", "❤_melt"),
        ("!!!", "!!!"),
        ("C++", "c"),
        ("\u202emelt", "melt"),
    ],
)
def test_words_are_kept_and_separators_unified(label, category):
    assert normalise_label(label) == category


@pytest.mark.parametrize("nothing", [None, "", "  ", "--", "_", ". .", "\u200b"])
def test_an_empty_label_is_no_label(nothing):
    assert normalise_label(nothing) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("पानी", "पीना"), ("ขา", "ขี"), ("🔥", "🧊"), ("!!!", "???"), ("x" * 500 + "a", "x" * 500 + "b")],
)
def test_labels_that_differ_in_vowel_signs_pictographs_or_far_behind_stay_apart(one, other):
    assert normalise_label(one) != normalise_label(other)
    assert key_of(one) != key_of(other)


def test_two_unicode_forms_of_a_label_are_one():
    assert normalise_label("E\u0301clat") == normalise_label("\u00c9clat") == "\u00e9clat"


@settings(deadline=None, max_examples=500)
@given(
    st.text(max_size=40)
    | st.text("it _-İßΐ\u0345क्षि🔥\u200d", max_size=12)
    | st.text(min_size=100, max_size=300)
)
def test_normalising_twice_changes_nothing_and_no_label_is_long(label):
    once = normalise_label(label)
    assert normalise_label(once) == once
    assert len(once or "") <= LONGEST


@pytest.mark.parametrize(
    "spelling", ["Cakeify", "cake_ify", "Cake ify", "CAKE-IFY it", "Moulten ify", "moultenify"]
)
def test_a_name_means_its_category_however_it_is_written(spelling):
    names = CategoryNames([category("cake_ify"), category("moulten_ify"), category("melt")])
    expected = "cake_ify" if "ake" in spelling.lower() else "moulten_ify"
    assert names.id_of(spelling) == names.file_under(spelling) == expected
    assert names.ids_named(spelling) == [expected]
    assert names.matching(spelling)[expected] == 1.0
    assert names.matching(f"a {spelling.removesuffix(' it')} dog")[expected] >= 1 / 3


def test_two_categories_that_differ_only_in_a_gap_stay_two_where_both_exist():
    names = CategoryNames([category("now_here"), category("nowhere")])
    assert names.id_of("Nowhere") == "nowhere"
    assert names.id_of("now here") == "now_here"


def test_aliases_and_merges_lead_to_the_category_that_is_left():
    rows = [category("goo", "Goo", merged_into="slime"), category("slime", merged_into="melt")]
    names = CategoryNames([*rows, category("melt", "Melting away", ["liquefy"])])
    for name in ("goo", "Slime", "melt", "LIQUEFY", "melting_away"):
        assert names.id_of(name) == "melt"
        assert sorted(names.ids_named(name)) == ["goo", "melt", "slime"]
    assert names.name_of("goo") == "Melting away"
    assert names.file_under("Goo it") == "melt"


def test_an_unknown_name_is_a_sentence_with_the_nearest():
    names = CategoryNames([category("melt"), category("explode", "Blow up")])
    with pytest.raises(UnknownCategory, match=r"No category is called 'mlet'; nearest: 'melt'\."):
        names.id_of("mlet")
    with pytest.raises(UnknownCategory) as refused:
        names.id_of("<script>" * 100_000)
    assert len(str(refused.value)) < 200
    assert names.file_under("Brand-new") == "brand_new"


def test_what_only_clips_name_is_found_too_and_spelled_in_two_ways_is_one():
    names = CategoryNames([category("melt", "Melt")], unlisted=["moultenify", "moulten_ify", "melt"])
    assert sorted(names.ids_named("Moulten-ify")) == ["moulten_ify", "moultenify"]
    assert names.name_of("moultenify") == "moulten_ify"
    assert names.ids_named("melt") == ["melt"]
