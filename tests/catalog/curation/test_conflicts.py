"""Two labels for one content: nobody wins, until a person says which it is, and that can be taken back."""

import pytest

from catalog.acts import undo
from catalog.curation import Selection
from catalog.curation.clips import move
from catalog.curation.conflicts import decide, open_conflicts
from catalog.errors import NoConflict, UnknownCategory
from catalog.fate import LABEL_CONFLICT, SAME_CONTENT


@pytest.fixture
def torn(catalog):
    """Clip x is crush.mp4 and melt.mp4, y1 and y2 are windows of a.mp4 and of b.mp4; z is fine."""
    shown = {
        "crush.mp4": ("Crush", "accepted", ["x"]),
        "melt.mp4": ("melt it", "duplicate", ["x"]),
        "a.mp4": ("melt", "accepted", ["y1", "y2"]),
        "b.mp4": ("glow", "duplicate", ["y1", "y2"]),
        "z.mp4": ("melt", "accepted", ["z"]),
    }
    rows = [
        {
            "source_uri": uri,
            "label": label,
            "outcome": outcome,
            "clip_ids": ids,
            "reason_code": LABEL_CONFLICT if outcome == "duplicate" else None,
            "reason": "torn" if outcome == "duplicate" else None,
        }
        for uri, (label, outcome, ids) in shown.items()
    ]
    catalog.upsert("sources", rows)
    catalog.upsert("clips", [{"clip_id": key, "status": "accepted"} for key in ("x", "y1", "y2")])
    catalog.upsert("clips", [{"clip_id": "z", "category_id": "melt", "category_source": "label"}])
    return catalog


def categories(catalog):
    rows = catalog.scan("clips", ["clip_id", "category_id", "category_source"]).sort_by("clip_id").to_pylist()
    return {row["clip_id"]: (row["category_id"], row["category_source"]) for row in rows}


def test_what_a_person_decides_holds_for_the_whole_content_and_can_be_taken_back(torn, ann):
    found = {conflict.clip_ids: conflict.categories for conflict in open_conflicts(torn)}
    assert found == {("x",): ("crush", "melt"), ("y1", "y2"): ("glow", "melt")}
    done = decide(torn, Selection.of(["x", "y2"]), "Melt it", ann)
    assert set(categories(torn).values()) == {("melt", "human"), ("melt", "label")}
    assert open_conflicts(torn) == []
    told = torn.get("sources", ["melt.mp4", "b.mp4"], ["reason_code", "reason"]).to_pylist()
    assert {row["reason_code"] for row in told} == {SAME_CONTENT}
    assert sorted(row["reason"] for row in told) == [
        "It has the same content as a.mp4.",
        "It has the same content as crush.mp4.",
    ]
    undo(torn, done.event, actor="ada")
    assert len(open_conflicts(torn)) == 2
    assert categories(torn)["x"] == (None, None)


def test_one_of_several_conflicts_can_be_decided(torn, ann):
    decide(torn, Selection.of(["x"]), "crush", ann)
    assert categories(torn)["x"] == ("crush", "human")
    assert [conflict.clip_ids for conflict in open_conflicts(torn)] == [("y1", "y2")]


def test_a_category_that_no_label_names_has_to_be_one_of_the_catalogue(torn, ann):
    torn.upsert("categories", [{"category_id": "inflate", "name": "inflate", "state": "active"}])
    with pytest.raises(UnknownCategory, match=r"'mellt'.*melt"):
        decide(torn, Selection.of(["x"]), "mellt", ann)
    decide(torn, Selection.of(["x"]), "inflating", ann)
    assert categories(torn)["x"] == ("inflate", "human")


def test_moving_the_clips_decides_too(torn, ann):
    move(torn, Selection.of(["x"]), "melt", ann)
    assert [conflict.clip_ids for conflict in open_conflicts(torn)] == [("y1", "y2")]


def test_a_clip_that_waits_for_no_decision_is_left_alone(torn, ann):
    before = torn.versions()
    with pytest.raises(NoConflict, match="'melt'; 2 contents do"):
        decide(torn, Selection.of(["x", "z"]), "melt", ann)
    assert torn.versions() == before
