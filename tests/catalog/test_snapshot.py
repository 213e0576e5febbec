"""Snapshots: what was read once is read again, whatever is written or cleaned up in between."""

import pickle
from datetime import timedelta

import pytest

from catalog.errors import ReadOnlyCatalog, SnapshotMissing
from catalog.maintenance import compact
from catalog.schema import SCHEMAS
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from catalog.vectors import ensure_vectors

NOW = timedelta(0)


def captions(catalog: Catalog) -> set[tuple]:
    return {tuple(row.values()) for row in catalog.scan("clips", ["clip_id", "caption"]).to_pylist()}


def test_a_snapshot_reads_its_rows_and_media_after_writes_compaction_and_clean_up(catalog):
    for n in range(6):
        catalog.upsert("clips", [{"clip_id": f"c{n}", "caption": "old"}])
        catalog.upsert("media", [{"clip_id": f"c{n}", "video": b"old" * 50_000}])
    snapshot = catalog.snapshot()
    for n in range(3, 9):
        catalog.upsert("clips", [{"clip_id": f"c{n}", "caption": "new"}])
        catalog.upsert("media", [{"clip_id": f"c{n}", "video": b"new" * 50_000}])
    ensure_vectors(catalog, "clips", "embedding", 4)
    compact(catalog, keep=NOW)
    past = catalog.at(snapshot)
    assert captions(past) == {(f"c{n}", "old") for n in range(6)}
    assert past.videos(["c0", "c5", "c8"]) == {"c0": b"old" * 50_000, "c5": b"old" * 50_000}
    assert "embedding" not in past.schema("clips").names
    assert captions(catalog) == {(f"c{n}", "old") for n in range(3)} | {(f"c{n}", "new") for n in range(3, 9)}
    assert catalog.videos(["c0", "c8"]) == {"c0": b"old" * 50_000, "c8": b"new" * 50_000}
    assert captions(pickle.loads(pickle.dumps(past))) == captions(past)


def test_compaction_drops_versions_and_files_that_no_snapshot_names(catalog):
    for n in range(8):
        catalog.upsert("clips", [{"clip_id": f"c{n}"}])
    table = catalog.tables.handle("clips")
    old = Snapshot(catalog.versions() | {"clips": 3})
    assert len(table.to_lance().get_fragments()) == 8
    compact(catalog, keep=NOW)
    assert len(catalog.tables.handle("clips").to_lance().get_fragments()) == 1
    assert catalog.count("clips") == 8
    with pytest.raises(SnapshotMissing, match="Version 3 of table 'clips'"):
        catalog.at(old)


def test_a_snapshot_refuses_to_write(catalog):
    catalog.upsert("clips", [{"clip_id": "a"}])
    past = catalog.at(catalog.snapshot())
    writes = [
        lambda: past.upsert("clips", [{"clip_id": "b"}]),
        lambda: past.update("clips", [{"clip_id": "a", "caption": "x"}]),
        lambda: past.upsert("clips", []),
        lambda: ensure_vectors(past, "clips", "embedding", 4),
        lambda: compact(past),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyCatalog):
            write()
    assert captions(catalog) == {("a", None)}


def test_a_snapshot_names_every_table_and_survives_json(catalog):
    catalog.upsert("clips", [{"clip_id": "a"}])
    snapshot = catalog.snapshot()
    assert snapshot.versions.keys() == SCHEMAS.keys()
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    assert catalog.snapshot() == snapshot
    assert catalog.at(snapshot).snapshot() == catalog.at(snapshot).at(snapshot).snapshot() == snapshot


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"clips": "1"}', '{"clips": 0}', '{"clips": true}', "null"]
)
def test_text_that_is_no_snapshot_is_refused(text):
    with pytest.raises(SnapshotMissing, match="expected JSON"):
        Snapshot.from_json(text)


def test_a_snapshot_of_another_catalogue_is_refused(catalog):
    with pytest.raises(SnapshotMissing, match="Version 99"):
        catalog.at(Snapshot(catalog.versions() | {"clips": 99}))
    with pytest.raises(SnapshotMissing, match=r"does not fit this catalogue's tables: \['wurst'\]"):
        catalog.at(Snapshot(catalog.versions() | {"wurst": 1}))


def test_a_snapshot_that_is_older_than_a_table_reads_all_others(catalog):
    catalog.upsert("clips", [{"clip_id": "a"}])
    older = {name: version for name, version in catalog.versions().items() if name != "decisions"}
    view = catalog.at(Snapshot(older))
    assert view.count("clips") == 1
    with pytest.raises(SnapshotMissing, match="before there was a table 'decisions'"):
        view.count("decisions")
