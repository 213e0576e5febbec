"""The terms of what is used, and what would be lost without some of them."""

import pytest

from catalog.curation import Selection
from catalog.curation.clips import reject, set_licence
from catalog.errors import UnknownLicence
from catalog.licences import licences, without


def test_what_would_be_left_without_some_terms(curated, ann):
    set_licence(curated, Selection.matching("category = 'melt'"), "CC0", ann, "https://example.org")
    set_licence(curated, Selection.of(["d0aaaaa", "d1aaaaa"]), "CC-BY-4.0", ann)
    told = [(each.licence, each.clips, each.categories, each.with_evidence) for each in licences(curated)]
    assert told == [("unknown", 6, 2, 0), ("CC0", 4, 1, 4), ("CC-BY-4.0", 2, 1, 0)]
    found = without(curated, ["unknown"], least=3)
    assert (found.clips, found.lost, found.fallen, found.gone) == (
        12,
        6,
        {"drip": (4, 2), "snow": (4, 0)},
        ("snow",),
    )
    assert "you lose 6 of 12 clips; 2 categories fall under 3, 1 have none left" in found.sentence()
    found = without(curated, ["unknown"], least=5)
    assert "0 categories fall under 5 (3 have fewer as it is), 1 have none left" in found.sentence()
    reject(curated, Selection.matching("category = 'melt'"), ann)
    with pytest.raises(UnknownLicence, match=r"'CC0'; nearest: 'CC-BY-4\.0'"):
        without(curated, ["CC0"])


def test_that_no_clip_is_of_unknown_terms_is_an_answer(curated, ann):
    set_licence(curated, Selection.matching("clip_id is not null"), "CC0", ann)
    assert without(curated, ["unknown"]).lost == 0
