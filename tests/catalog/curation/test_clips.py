"""Acts about clips: by id or by filter, in bulk, followed by their sources, taken back."""

import pytest

from catalog.acts import undo
from catalog.curation import Author, Selection
from catalog.curation.categories import hold_out
from catalog.curation.clips import approve, move, reject, set_licence, set_split
from catalog.errors import (
    BadAct,
    BadFilter,
    BadName,
    ChangedMeanwhile,
    NothingSelected,
    UnknownCategory,
    UnknownClip,
)
from catalog.events import history, last_event, touching
from tests.catalog.curated import everything, rows_of

MELT = Selection.matching("category = 'melt'")


def test_rejected_clips_and_their_sources_say_why_and_by_whom_and_come_back(curated, ann):
    before = everything(curated)
    done = reject(curated, MELT, ann, "only smoke")
    assert done.changed == {"clips": 4, "sources": 4}
    rows = rows_of(curated, "status", "reason", "reason_code", "reviewed_by")
    assert rows["m0"] == ("rejected", "only smoke", "by_person", "ann")
    assert rows["d0"][0] == "accepted"
    assert {r["outcome"] for r in curated.get("sources", ["m0aaaaa.mp4"]).to_pylist()} == {"rejected"}
    undo(curated, done.event, actor="ben")
    assert everything(curated) == before


def test_what_a_machine_gave_is_a_persons_word_once_it_is_approved(curated, ann):
    guessed = {"category_source": "assigned", "category_confidence": 0.7, "status": "rejected"}
    curated.update("clips", [{"clip_id": "m0aaaaa", **guessed}])
    asked = Selection.matching("category = 'melt' and status in ('accepted', 'rejected')")
    approve(curated, asked, ann)
    rows = rows_of(curated, "status", "category_source", "category_confidence", "reviewed_by")
    assert rows["m0"] == ("accepted", "human", 1.0, "ann")
    assert rows["m1"] == ("accepted", "label", 1.0, "ann")
    assert approve(curated, asked, Author("ben")).event is None


def test_approving_by_a_filter_brings_back_what_was_set_aside_only_where_the_filter_asks_for_it(curated, ann):
    reject(curated, Selection.of(["m1aaaaa"]), ann)
    done = approve(curated, MELT, ann)
    assert (done.changed["clips"], done.left_out) == (3, 1)
    assert rows_of(curated, "status")["m1"] == ("rejected",)
    assert history(curated)[0].payload["left_out"] == 1
    with pytest.raises(NothingSelected, match=r"All that match \(1\) were rejected or are copies"):
        approve(curated, Selection.matching("clip_id in ('m1aaaaa', 'status')"), ann)
    approve(curated, Selection.matching("category = 'melt' and status = 'rejected'"), ann)
    assert rows_of(curated, "status")["m1"] == ("accepted",)


def test_an_approved_copy_is_remembered_as_different(curated, ann):
    marked = {"status": "duplicate", "duplicate_of": "d1aaaaa", "duplicate_group": "d1aaaaa"}
    curated.update("clips", [{"clip_id": "m0aaaaa", **marked}])
    approve(curated, Selection.of(["m0aaaaa"]), ann)
    assert rows_of(curated, "status", "duplicate_of")["m0"] == ("accepted", None)
    [pair] = curated.scan("pairs").to_pylist()
    assert (pair["clip_id"], pair["other_id"], pair["verdict"]) == ("d1aaaaa", "m0aaaaa", "different")
    assert pair["said_by"] == "ann"


def test_clips_are_moved_by_any_name_of_a_category_and_follow_what_it_is_for(curated, ann):
    hold_out(curated, "snow", ann)
    done = move(curated, Selection.of(["m0aa", "m1aaaaa"]), "Snow", ann)
    rows = rows_of(curated, "category_id", "category_source", "split")
    assert rows["m0"] == rows["m1"] == ("snow", "human", "ood")
    assert rows["m2"] == ("melt", "label", "train")
    move(curated, Selection.of(["m0aaaaa"]), "drip", ann)
    assert rows_of(curated, "category_id", "split")["m0"] == ("drip", "train")
    with pytest.raises(ChangedMeanwhile, match="event 3"):
        undo(curated, done.event, actor="ann")


def test_a_category_that_a_move_makes_goes_with_it(curated, ann):
    before = everything(curated)
    done = move(curated, MELT, "Melts Fast", ann, new=True)
    assert done.changed == {"categories": 1, "clips": 4}
    assert rows_of(curated, "category_id")["m0"] == ("melts_fast",)
    undo(curated, done.event, actor="ben")
    assert everything(curated) == before
    with pytest.raises(BadName):
        move(curated, MELT, "x" * 1_000_000, ann, new=True)


def test_terms_and_splits_are_set_by_filter(curated, ann):
    set_licence(curated, MELT, "CC0", ann, "https://example.org")
    set_split(curated, Selection.matching("licence = 'CC0'"), "val", ann)
    rows = rows_of(curated, "licence", "licence_evidence", "split", "split_source")
    assert rows["m3"] == ("CC0", "https://example.org", "val", "human")
    assert rows["d3"] == (None, None, "train", None)
    assert [event.payload["where"] for event in history(curated)] == [
        "licence = 'CC0'",
        "category = 'melt'",
    ]


def test_what_another_curator_changed_meanwhile_is_shown_and_not_overwritten(curated):
    seen = last_event(curated)
    move(curated, Selection.of(["m1aaaaa"]), "snow", Author("ben"))
    before = everything(curated)
    with pytest.raises(ChangedMeanwhile, match=r"1 row was .* by event 1 \(move, ben\).*'m1aaaaa'"):
        move(curated, Selection.of(["m0aaaaa", "m1aaaaa"]), "drip", Author("ann", as_of=seen))
    assert everything(curated) == before
    # What concerns other columns or other clips is no conflict.
    set_licence(curated, Selection.of(["m1aaaaa"]), "CC0", Author("ann", as_of=seen))
    move(curated, Selection.of(["m0aaaaa"]), "drip", Author("ann", as_of=seen))
    move(curated, Selection.of(["m1aaaaa"]), "melt", Author("ann", as_of=last_event(curated)))


def test_what_the_same_person_changed_from_another_page_is_not_overwritten_either(curated):
    seen = last_event(curated)
    move(curated, Selection.of(["m1aaaaa"]), "snow", Author("ben", as_of=seen))
    before = everything(curated)
    with pytest.raises(ChangedMeanwhile, match=r"1 row was .* by event 1 \(move, ben\)"):
        move(curated, Selection.of(["m1aaaaa"]), "drip", Author("ben", as_of=seen))
    assert everything(curated) == before
    # What is so already conflicts with nothing, as when a button is pressed twice.
    assert move(curated, Selection.of(["m1aaaaa"]), "snow", Author("ben", as_of=seen)).event is None


def test_a_change_that_was_taken_back_is_no_conflict(curated):
    seen = last_event(curated)
    event = move(curated, Selection.of(["m1aaaaa"]), "snow", Author("ben")).event
    undo(curated, event, actor="ben")
    move(curated, Selection.of(["m1aaaaa"]), "drip", Author("ann", as_of=seen))
    assert rows_of(curated, "category_id")["m1"] == ("drip",)


def test_a_dry_run_counts_and_changes_nothing(curated):
    before = curated.versions()
    done = reject(curated, MELT, Author("ann", dry_run=True))
    assert (done.event, done.changed) == (None, {"clips": 4, "sources": 4})
    assert curated.versions() == before


def test_the_history_of_a_clip_has_each_value_before_and_after(curated, ann):
    move(curated, Selection.of(["m0aaaaa"]), "drip", ann)
    set_licence(curated, Selection.of(["d0aaaaa"]), "CC0", ann)
    reject(curated, Selection.of(["m0aaaaa"]), ann)
    told = touching(curated, "clips", "m0aaaaa")
    assert [event.act for event, _ in told] == ["reject", "move"]
    assert told[1][1]["category_id"] == ("melt", "drip")


@pytest.mark.parametrize(
    ("selection", "error", "says"),
    [
        (Selection.of(["zzzzz"]), UnknownClip, "No clip is called 'zzzzz'"),
        (Selection.of(["m0a"]), UnknownClip, "No clip is called 'm0a'"),
        (Selection(), NothingSelected, "Say which clips"),
        (Selection.matching("category = 'melt' and motion > 1"), NothingSelected, "No clip matches"),
        (Selection.matching("categry = 'melt'"), BadFilter, "nearest: 'category'"),
        (Selection.matching("1=1; drop table clips --"), BadFilter, "position 3"),
        (Selection.matching("category = 'melt'", expected=9), NothingSelected, "4 clips match now, and 9"),
    ],
)
def test_clips_that_cannot_be_found_are_one_sentence_and_nothing_changes(
    curated, ann, selection, error, says
):
    before = curated.versions()
    with pytest.raises(error, match=says):
        reject(curated, selection, ann)
    assert curated.versions() == before


def test_an_id_is_cut_short_only_where_it_still_says_which(curated, ann):
    curated.upsert("clips", [{"clip_id": f"abcd{n}", "status": "accepted"} for n in range(2)])
    with pytest.raises(UnknownClip, match=r"2 clips begin with 'abcd' \(abcd0, abcd1, …\)"):
        reject(curated, Selection.of(["abcd"]), ann)


def test_no_clip_goes_into_a_category_that_is_not_there_nor_out_of_domain_by_itself(curated, ann):
    with pytest.raises(UnknownCategory, match="nearest: 'melt'"):
        move(curated, MELT, "mlet", ann)
    with pytest.raises(BadAct, match="as a whole"):
        set_split(curated, MELT, "ood", ann)
    with pytest.raises(BadAct, match="'x' is no split"):
        set_split(curated, MELT, "x", ann)
    hold_out(curated, "melt", ann)
    with pytest.raises(BadAct, match=r"out of domain \(melt\)"):
        set_split(curated, MELT, "train", ann)
