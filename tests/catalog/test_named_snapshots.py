"""Snapshots with names: taken whole, compared, put back, kept from being cleaned up."""

from datetime import timedelta

import pytest

from catalog.acts import undo
from catalog.curation import Selection
from catalog.curation.categories import add, merge, rename
from catalog.curation.clips import move, reject, set_licence, set_split
from catalog.curation.duplicates import not_duplicates
from catalog.errors import BadName, SnapshotMissing, SpecMismatch
from catalog.maintenance import compact
from catalog.snapshot import Snapshot
from catalog.snapshots import compare, named, remove, resolve, restore, snapshots, take
from tests.catalog.curated import everything, rows_of

NOW = timedelta(0)


def test_a_snapshot_is_found_by_its_name_and_reads_what_was_then(curated, ann):
    made = take(curated, "v1", "ann", "clean")
    move(curated, Selection.of(["m0aaaaa"]), "snow", ann)
    [found] = snapshots(curated)
    assert found == made
    assert (found.name, found.author, found.note) == ("v1", "ann", "clean")
    assert rows_of(resolve(curated, "v1"), "category_id")["m0"] == ("melt",)
    assert rows_of(resolve(curated, "now"), "category_id")["m0"] == ("snow",)


def test_a_snapshot_whose_row_was_not_written_does_not_exist(curated, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(curated), "add", killed)
        with pytest.raises(KeyboardInterrupt):
            take(curated, "v1", "ann")
    assert snapshots(curated) == []
    take(curated, "v1", "ann")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v1", "called 'v1' already"),
        ("now", "something else"),
        ("model:x", "something else"),
        (" ", "letter"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(curated, name, says):
    take(curated, "v1", "ann")
    with pytest.raises(BadName, match=says):
        take(curated, name, "ann")


def test_what_is_not_there_or_of_another_geometry_is_said(curated, ann):
    take(curated, "first", "ann")
    with pytest.raises(SnapshotMissing, match="nearest: 'first'"):
        resolve(curated, "frist")
    with pytest.raises(SnapshotMissing, match="No model is called 'x'"):
        resolve(curated, "model:x")
    with pytest.raises(SnapshotMissing, match="no snapshot that can be forgotten"):
        remove(curated, "now")
    curated.update("snapshots", [{"name": "first", "spec_id": "49f-8fps-480x720"}])
    before = curated.versions()
    for act in (resolve, remove, lambda catalog, name: restore(catalog, name, ann)):
        with pytest.raises(SpecMismatch, match="of clips of 49f-8fps-480x720, and this catalogue"):
            act(curated, "first")
    assert curated.versions() == before


def test_what_came_went_and_moved_between_two(curated, ann):
    take(curated, "v1", "ann")
    reject(curated, Selection.of(["d0aaaaa"]), ann)
    move(curated, Selection.of(["m0aaaaa", "m1aaaaa"]), "snow", ann)
    set_licence(curated, Selection.of(["s0aaaaa"]), "CC0", ann)
    set_split(curated, Selection.of(["s0aaaaa"]), "val", ann)
    curated.upsert("clips", [{"clip_id": "x", "status": "accepted", "category_id": "snow"}])
    found = compare(resolve(curated, "v1"), resolve(curated, "now"))
    assert (found.clips, found.came, found.went) == ((12, 12), ("x",), ("d0aaaaa",))
    assert found.matrix == {("melt", "snow"): 2}
    assert found.moved["m0aaaaa"] == ("melt", "snow")
    assert found.licences == {"CC0": (0, 1), "unknown": (12, 11)}
    assert found.resplit == {"s0aaaaa": ("train", "val")}
    assert found.categories["snow"] == (4, 7)


def test_a_renamed_category_is_the_same_one_and_a_merged_one_is_another(curated, ann):
    take(curated, "v1", "ann")
    rename(curated, "snow", "Snowfall", ann)
    merge(curated, ["melt"], "drip", ann)
    found = compare(resolve(curated, "v1"), curated)
    assert found.renamed == {"snow": "Snowfall"}
    assert found.matrix == {("melt", "drip"): 4}
    assert found.categories == {"Snowfall": (4, 4), "drip": (4, 8), "melt": (4, 0)}


def test_what_a_model_saw_is_a_snapshot_too(curated, ann):
    curated.upsert("models", [{"model_id": "abc", "snapshot": curated.snapshot().to_json()}])
    reject(curated, Selection.of(["d0aaaaa"]), ann)
    assert compare(resolve(curated, "model:abc"), curated).went == ("d0aaaaa",)


def test_what_people_decided_is_put_back_as_it_was_and_that_is_undone(curated, ann):
    set_licence(curated, Selection.of(["s0aaaaa"]), "CC0", ann)
    take(curated, "v1", "ann")
    before = everything(curated)
    rename(curated, "snow", "Snowfall", ann)
    merge(curated, ["melt"], "drip", ann)
    add(curated, "new one", ann)
    reject(curated, Selection.of(["d0aaaaa"]), ann)
    not_duplicates(curated, ["d1aaaaa", "d2aaaaa"], ann)
    after = everything(curated)
    done = restore(curated, "v1", ann)
    assert everything(curated) == before
    undo(curated, done.event, actor="ann")
    assert everything(curated) == after


def test_clips_that_came_later_stay_unless_they_are_to_be_set_aside(curated, ann):
    take(curated, "v1", "ann")
    add(curated, "glow", ann)
    curated.upsert("clips", [{"clip_id": "x", "status": "accepted", "category_id": "glow"}])
    restore(curated, "v1", ann)
    assert rows_of(curated, "status", "category_id")["x"] == ("accepted", "glow")
    assert curated.count("categories") == 4
    restore(curated, "v1", ann, set_aside_later=True)
    assert rows_of(curated, "status", "reason")["x"][0] == "rejected"
    assert compare(resolve(curated, "v1"), curated).clips == (12, 12)


def test_what_a_snapshot_names_is_kept_until_it_is_forgotten(curated, ann):
    take(curated, "v1", "ann")
    old = named.named(curated, "v1")
    move(curated, Selection.of(["m0aaaaa"]), "snow", ann)
    take(curated, "v2", "ann")
    compact(curated, keep=NOW)
    assert rows_of(resolve(curated, "v1"), "category_id")["m0"] == ("melt",)
    curated.upsert("models", [{"model_id": "abc", "snapshot": Snapshot(old.versions).to_json()}])
    remove(curated, "v1")
    compact(curated, keep=NOW)
    # A model was trained on it.
    assert rows_of(resolve(curated, "model:abc"), "category_id")["m0"] == ("melt",)
    curated.update("models", [{"model_id": "abc", "snapshot": None}])
    take(curated, "v3", "ann")
    row = {"name": "v1", "versions": old.to_json(), "spec_id": curated.spec.spec_id}
    curated.upsert("snapshots", [row | {"created_at": snapshots(curated)[1].created_at}])
    remove(curated, "v1")
    compact(curated, keep=NOW)
    with pytest.raises(SnapshotMissing):
        curated.at(old)
    assert [each.name for each in snapshots(curated)] == ["v3", "v2"]
