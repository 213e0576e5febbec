"""Groups of copies side by side, and what a person says of them."""

import pytest

from catalog.acts import undo
from catalog.curation.duplicates import duplicate_groups, keep, not_duplicates
from catalog.curation.pairs import verdicts
from catalog.errors import BadAct, UnknownClip
from catalog.store import Catalog
from tests.catalog.curated import everything, rows_of


@pytest.fixture
def copied(curated) -> Catalog:
    """m1 and m2 are marked as copies of m0; d0 and d1 show the same and are both used."""
    group = {"duplicate_group": "m0aaaaa"}
    marked = group | {"status": "duplicate", "duplicate_of": "m0aaaaa"}
    curated.update("clips", [{"clip_id": c, **marked} for c in ("m1aaaaa", "m2aaaaa")])
    curated.update("clips", [{"clip_id": "m0aaaaa", **group, "source_width": 640}])
    curated.update("clips", [{"clip_id": c, "duplicate_group": "d0aaaaa"} for c in ("d0aaaaa", "d1aaaaa")])
    said = {"caption": "a mug", "licence": "CC0", "licence_evidence": "https://example.org"}
    curated.update("clips", [{"clip_id": "m1aaaaa", **said}])
    return curated


def ids(groups) -> list[list[str]]:
    return [[row["clip_id"][:2] for row in group.clips] for group in groups]


def test_groups_say_what_differs_and_those_across_splits_come_first(copied):
    groups = duplicate_groups(copied)
    assert ids(groups) == [["d0", "d1"], ["m0", "m1", "m2"]]
    assert "caption" in groups[1].differing
    assert "codec" not in groups[1].differing
    assert [group.leaks for group in groups] == [(), ()]
    copied.update("clips", [{"clip_id": "d1aaaaa", "split": "val"}])
    # A clip that is not used leaks nothing.
    copied.update("clips", [{"clip_id": "m1aaaaa", "split": "val"}])
    assert [group.leaks for group in duplicate_groups(copied)] == [(("d0aaaaa", "d1aaaaa"),), ()]


def test_another_copy_is_kept_and_takes_what_it_does_not_say_itself(copied, ann):
    before = everything(copied)
    done = keep(copied, "m2aaaaa", ["m0aaaaa", "m1aaaaa"], ann, merge=True)
    rows = rows_of(copied, "status", "duplicate_of", "caption", "licence", "licence_evidence", "category_id")
    assert rows["m2"] == ("accepted", None, "a mug", "CC0", "https://example.org", "melt")
    assert rows["m0"][:2] == rows["m1"][:2] == ("duplicate", "m2aaaaa")
    assert rows["m0"][2] is None
    assert set(verdicts(copied).values()) == {"same"}
    assert keep(copied, "m2aa", ["m0aa", "m1aa"], ann).event is None
    undo(copied, done.event, actor="ann")
    assert everything(copied) == before


def test_clips_that_are_told_apart_are_used_again_and_no_group_any_more(copied, ann):
    done = not_duplicates(copied, ["d0aaaaa", "d1aaaaa"], ann)
    assert ids(duplicate_groups(copied)) == [["m0", "m1", "m2"]]
    undo(copied, done.event, actor="ann")
    assert len(duplicate_groups(copied)) == 2
    not_duplicates(copied, ["m0aaaaa", "m1aaaaa"], ann)
    assert rows_of(copied, "status", "duplicate_of", "reviewed_by")["m1"] == ("accepted", None, "ann")
    assert rows_of(copied, "status")["m2"] == ("duplicate",)
    assert verdicts(copied) == {("m0aaaaa", "m1aaaaa"): "different"}


def test_decisions_about_nothing_are_refused(copied, ann):
    with pytest.raises(BadAct, match="once"):
        keep(copied, "m0aaaaa", ["m0aaaaa"], ann)
    with pytest.raises(BadAct, match="two clips"):
        not_duplicates(copied, ["m0aaaaa"], ann)
    with pytest.raises(UnknownClip):
        keep(copied, "m0aaaaa", ["zzzzz"], ann)
