"""Acts: whole or not at all, signed, taken back; also when processes die or write at once."""

import multiprocessing
import os
import pickle
import signal

import numpy as np
import pytest

from catalog import acts
from catalog.acts import apply, settle, undo
from catalog.changes import Change, Kind
from catalog.errors import (
    ChangedMeanwhile,
    InvalidRows,
    ReadOnlyCatalog,
    UnknownColumn,
    UnknownEvent,
    UnknownTable,
    WriteConflict,
)
from catalog.events import changes_of, history
from catalog.store import Catalog
from catalog.tables import Tables
from catalog.vectors import ensure_vectors
from catalog.vocabulary import Split, Status

SPAWN = multiprocessing.get_context("spawn")
CLIPS = [f"c{n:03}" for n in range(200)]


@pytest.fixture
def filled(catalog) -> Catalog:
    catalog.upsert("clips", [{"clip_id": c, "status": "accepted", "caption": c} for c in CLIPS])
    catalog.upsert("categories", [{"category_id": "melt", "name": "Melt", "state": "active"}])
    catalog.upsert("features", [{"clip_id": c, "encoder_id": e, "caption": c} for c in "ab" for e in "xy"])
    return catalog


def everything(catalog: Catalog) -> dict[str, list[dict]]:
    """All rows but the log's, without the times."""
    tables = ("clips", "categories", "features")
    rows = {name: catalog.scan(name).to_pylist() for name in tables}
    return {
        name: sorted(({k: v for k, v in row.items() if k != "updated_at"} for row in found), key=str)
        for name, found in rows.items()
    }


def bulk() -> list[Change]:
    """A change of each kind to four tables at once."""
    return [
        Change("clips", [{"clip_id": c, "category_id": "drip", "split": Split.OOD} for c in CLIPS]),
        Change("categories", [{"category_id": "melt", "state": "merged", "merged_into": "drip"}]),
        Change("categories", [{"category_id": "drip", "prototype": [0.25, 0.5]}], Kind.ADD),
        Change("features", [{"clip_id": "a", "encoder_id": "y"}], Kind.REMOVE),
    ]


def set_status(status: Status, *clips: str) -> list[Change]:
    return [Change("clips", [{"clip_id": clip, "status": status} for clip in clips])]


def test_an_act_changes_adds_and_removes_rows_of_any_table_and_its_undoing_is_undone_too(filled):
    before = everything(filled)
    done = apply(filled, "split", bulk(), actor="ann", payload={"into": "drip"})
    assert done.changed == {"clips": 200, "categories": 2, "features": 1}
    after = everything(filled)
    assert {row["category_id"] for row in after["clips"]} == {"drip"}
    assert {row["caption"] for row in after["clips"]} == set(CLIPS)
    assert [row["category_id"] for row in after["categories"]] == ["drip", "melt"]
    assert [(row["clip_id"], row["encoder_id"]) for row in after["features"]] == [
        ("a", "x"),
        ("b", "x"),
        ("b", "y"),
    ]
    undoing = undo(filled, done.event, actor="ben")
    assert everything(filled) == before
    undo(filled, undoing.event, actor="ben")
    assert everything(filled) == after


def test_history_tells_who_did_what_and_what_was_taken_back(filled):
    first = apply(filled, "split", bulk(), actor="ann", payload={"into": "drip"}).event
    undoing = undo(filled, first, actor="ben").event
    newest, oldest = history(filled)
    assert (oldest.event_id, oldest.act, oldest.actor) == (first, "split", "ann")
    assert (oldest.payload, oldest.undone_by, oldest.changed["clips"]) == ({"into": "drip"}, undoing, 200)
    assert (newest.act, newest.actor, newest.payload) == ("undo", "ben", {"event": first})
    undo(filled, undoing, actor="ann")
    assert [event.undone_by for event in history(filled)] == [None, "3", None]
    assert [event.event_id for event in history(filled, limit=1)] == ["3"]
    change = next(c for c in changes_of(filled, first) if c.table == "categories" and c.kind is Kind.UPDATE)
    assert change.before().to_pylist() == [{"category_id": "melt", "state": "active", "merged_into": None}]
    assert change.after().to_pylist() == [{"category_id": "melt", "state": "merged", "merged_into": "drip"}]


def test_what_is_as_wished_already_makes_no_event_and_no_version(filled):
    before = filled.versions()
    done = apply(filled, "approve", set_status(Status.ACCEPTED, "c000"), actor="ann")
    assert (done.event, done.changed) == (None, {})
    assert filled.versions() == before
    mixed = [{"clip_id": "c000", "status": "rejected"}, {"clip_id": "c001", "status": "accepted"}]
    assert apply(filled, "reject", [Change("clips", mixed)], actor="ann").changed == {"clips": 1}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (Change("clips", [{"clip_id": "zz", "split": "val"}]), InvalidRows, "no such rows: 'zz'"),
        (Change("categories", [{"category_id": "melt"}], Kind.ADD), InvalidRows, "already: 'melt'"),
        (Change("features", [{"clip_id": "a", "encoder_id": "z"}], Kind.REMOVE), InvalidRows, "'a/z'"),
        (Change("clips", [{"clip_id": "c000", "spilt": "val"}]), UnknownColumn, "nearest: 'split'"),
        (Change("clips", [{"clip_id": "c000", "motion": "fast"}]), InvalidRows, "holds double"),
        (Change("media", [{"clip_id": "c000", "video": b""}]), UnknownColumn, "video"),
        (Change("clip", [{"clip_id": "c000"}]), UnknownTable, "'clips'"),
    ],
)
def test_an_act_with_one_change_that_does_not_fit_changes_nothing(filled, change, error, says):
    before = filled.versions()
    with pytest.raises(error, match=says):
        apply(filled, "move", [bulk()[0], change], actor="ann")
    assert filled.versions() == before


def test_what_another_changed_meanwhile_is_shown_and_not_overwritten(filled):
    seen = [{"clip_id": "c001", "status": "accepted"}]
    apply(filled, "reject", set_status(Status.REJECTED, "c001"), actor="ben")
    versions = filled.versions()
    moved = [{"clip_id": c, "category_id": "drip"} for c in ("c000", "c001")]
    with pytest.raises(ChangedMeanwhile, match=r"1 row was changed by somebody else .* 'c001'") as refused:
        apply(filled, "move", [Change("clips", moved, seen=seen)], actor="ann")
    assert pickle.loads(pickle.dumps(refused.value)).keys == [("c001",)]
    assert filled.versions() == versions


def test_an_act_whose_rows_changed_since_is_not_taken_back_and_the_later_act_is_named(filled):
    first = apply(filled, "reject", set_status(Status.REJECTED, *CLIPS), actor="ann")
    apply(filled, "split", [Change("clips", [{"clip_id": "c005", "split": "ood"}])], actor="cleo")
    other = apply(filled, "settle", set_status(Status.DUPLICATE, "c005"), actor="ben")
    versions = filled.versions()
    with pytest.raises(ChangedMeanwhile, match=r"1 of its rows in 'clips' .* by event 3 \(settle, ben\)"):
        undo(filled, first.event, actor="ann")
    assert filled.versions() == versions
    undo(filled, other.event, actor="ann")
    undo(filled, first.event, actor="ann")
    assert filled.count("clips", acts.col("status") == "rejected") == 0


def test_an_event_that_is_not_there_is_said_and_a_view_of_the_past_refuses(filled):
    event = apply(filled, "split", bulk(), actor="ann").event
    with pytest.raises(UnknownEvent, match=r"no event '17'; the newest is 1 \(split\)"):
        undo(filled, "17", actor="ann")
    with pytest.raises(ReadOnlyCatalog):
        undo(filled.at(filled.snapshot()), event, actor="ann")


def die_after(commits: int, catalog: Catalog) -> None:
    """Begin the bulk act, and be killed by the system after so many commits."""
    commit = Tables.commit
    left = commits

    def counted(tables, name, change):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return commit(tables, name, change)

    Tables.commit = counted
    apply(catalog, "split", bulk(), actor="ann")


@pytest.mark.parametrize("commits", [0, 1, 3, 5])
def test_an_act_whose_process_is_killed_is_whole_or_nothing_of_it_and_the_next_act_goes_on(
    filled, commits, monkeypatch
):
    monkeypatch.setattr(acts, "_PATIENCE", 0.0)
    before = everything(filled)
    killed = SPAWN.Process(target=die_after, args=(commits, filled))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert settle(filled) == (1 if commits else 0)
    if commits:
        assert {row["category_id"] for row in everything(filled)["clips"]} == {"drip"}
        undo(filled, "1", actor="ben")
    assert everything(filled) == before
    assert apply(filled, "split", bulk(), actor="ben").changed["clips"] == 200


def test_an_act_that_others_completed_while_it_was_slow_does_not_overwrite_what_came_after(
    filled, monkeypatch
):
    monkeypatch.setattr(acts, "_PATIENCE", 0.0)
    commit = Tables.commit
    seen = []

    def slow(tables, name, change):
        if name == "categories" and not seen:
            seen.append(name)  # here the first process sleeps while a second one goes on
            undo(filled, "1", actor="ben")
        return commit(tables, name, change)

    monkeypatch.setattr(Tables, "commit", slow)
    before = everything(filled)
    apply(filled, "split", bulk(), actor="ann")
    assert everything(filled) == before
    assert [(event.act, event.state) for event in history(filled)] == [("undo", "done"), ("split", "done")]


def test_a_snapshot_is_never_of_half_an_act(filled, monkeypatch):
    monkeypatch.setattr("catalog.store._PATIENCE", 0.0)
    commit = Tables.commit
    refused = []

    def watched(tables, name, change):
        if name == "categories" and not refused:
            with pytest.raises(WriteConflict, match="not done yet") as error:
                filled.snapshot()
            refused.append(error)
        return commit(tables, name, change)

    monkeypatch.setattr(Tables, "commit", watched)
    apply(filled, "split", bulk(), actor="ann")
    assert refused
    assert everything(filled.at(filled.snapshot())) == everything(filled)


def test_a_snapshot_is_not_of_half_an_act_that_is_done_while_it_is_taken(filled, monkeypatch):
    commit, count = Tables.commit, Catalog.count

    def die(tables, name, change):
        if name == "categories":
            raise OSError("the process is gone")
        return commit(tables, name, change)

    def late(catalog, table, where=None):
        if table == "events":
            settle(filled)  # the act is completed between the reading of versions and the look at its state
        return count(catalog, table, where)

    monkeypatch.setattr(acts, "_PATIENCE", 0.0)
    monkeypatch.setattr(Tables, "commit", die)
    with pytest.raises(OSError, match="gone"):
        apply(filled, "split", bulk(), actor="ann")
    monkeypatch.setattr(Tables, "commit", commit)
    monkeypatch.setattr(Catalog, "count", late)
    assert everything(filled.at(filled.snapshot())) == everything(filled)


def count_up(catalog: Catalog, turns: int) -> None:
    for _ in range(turns):
        while True:
            rows = catalog.get("clips", CLIPS[:3], ["clip_id", "rotation"]).to_pylist()
            more = [{"clip_id": row["clip_id"], "rotation": (row["rotation"] or 0) + 1} for row in rows]
            try:
                apply(catalog, "turn", [Change("clips", more, seen=rows)], actor=str(os.getpid()))
                break
            except ChangedMeanwhile:
                continue


def test_acts_of_several_processes_on_the_same_rows_lose_and_double_nothing(filled):
    with SPAWN.Pool(4) as pool:
        pool.starmap(count_up, [(filled, 4)] * 4, 1)
    rotations = filled.get("clips", CLIPS[:3], ["rotation"])["rotation"].to_pylist()
    assert rotations == [16] * 3
    assert [int(event.event_id) for event in history(filled)] == list(range(16, 0, -1))


def test_vectors_and_times_come_back_as_they_were(filled):
    ensure_vectors(filled, "clips", "embedding", 4)
    filled.update("clips", [{"clip_id": "c000", "embedding": np.arange(4)}])
    apply(filled, "forget", [Change("clips", [{"clip_id": "c000", "embedding": None}])], actor="ann")
    assert filled.get("clips", ["c000"], ["embedding"])["embedding"].to_pylist() == [None]
    undo(filled, "1", actor="ann")
    assert filled.get("clips", ["c000"], ["embedding"])["embedding"].to_pylist() == [[0, 1, 2, 3]]
