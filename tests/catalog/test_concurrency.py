"""Several processes on one catalogue at once."""

import multiprocessing
from collections import Counter

from catalog.clip_spec import ClipSpec
from catalog.errors import SpecMismatch
from catalog.store import Catalog

SPAWN = multiprocessing.get_context("spawn")


def in_processes(work, arguments: list[tuple]) -> list:
    """Run `work` in one process per tuple of arguments, all let go at the same moment."""
    with SPAWN.Manager() as manager, SPAWN.Pool(len(arguments)) as pool:
        barrier = manager.Barrier(len(arguments))
        return pool.starmap(work, [(barrier, *each) for each in arguments])


def upsert_overlapping(barrier, catalog: Catalog, writer: int) -> None:
    barrier.wait(120)
    for turn in range(4):
        rows = [
            {"clip_id": f"c{n}", "caption": f"{writer}", "rotation": turn} for n in range(writer, writer + 40)
        ]
        catalog.upsert("clips", rows)
        catalog.upsert("features", [{"clip_id": r["clip_id"], "encoder_id": "e"} for r in rows])


def test_overlapping_upserts_from_four_processes_leave_exactly_one_row_per_key(catalog):
    in_processes(upsert_overlapping, [(catalog, writer) for writer in range(4)])
    keys = Counter(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist())
    assert keys == {f"c{n}": 1 for n in range(43)}
    pairs = catalog.scan("features", ["clip_id", "encoder_id"]).to_pylist()
    assert sorted(row["clip_id"] for row in pairs) == sorted(keys)
    writers = {r["clip_id"]: r["caption"] for r in catalog.scan("clips", ["clip_id", "caption"]).to_pylist()}
    assert writers["c0"] == "0"
    assert writers["c42"] == "3"


def update_one_column(barrier, catalog: Catalog, column: str) -> None:
    barrier.wait(120)
    for start in range(0, 60, 20):
        catalog.update("clips", [{"clip_id": f"c{n}", column: float(n)} for n in range(start, start + 20)])


def test_updates_of_different_columns_of_the_same_rows_lose_nothing(catalog):
    catalog.upsert("clips", [{"clip_id": f"c{n}", "caption": "kept"} for n in range(60)])
    columns = ["motion", "blur", "flicker"]
    in_processes(update_one_column, [(catalog, column) for column in columns])
    rows = catalog.scan("clips", ["clip_id", "caption", *columns]).to_pylist()
    assert len(rows) == 60
    for row in rows:
        assert row == {"clip_id": row["clip_id"], "caption": "kept"} | dict.fromkeys(
            columns, float(row["clip_id"][1:])
        )


def create_and_write(barrier, uri: str, spec: ClipSpec, writer: int) -> str:
    barrier.wait(120)
    try:
        catalog = Catalog.create(uri, spec)
    except SpecMismatch:
        return "refused"
    catalog.ensure_vectors("clips", "embedding", 4, "clip")
    catalog.upsert("clips", [{"clip_id": f"w{writer}", "embedding": [1.0, 0, 0, 0]}])
    catalog.snapshot()
    return "wrote"


def test_processes_that_make_one_catalogue_at_once_share_it_and_one_spec_wins(tmp_path):
    uri = str(tmp_path / "catalogue")
    specs = [ClipSpec(height=64), ClipSpec(height=64), ClipSpec(height=80), ClipSpec(height=80)]
    outcomes = in_processes(create_and_write, [(uri, spec, n) for n, spec in enumerate(specs)])
    assert sorted(outcomes) == ["refused", "refused", "wrote", "wrote"]
    catalog = Catalog.open(uri)
    winners = {f"w{n}" for n, outcome in enumerate(outcomes) if outcome == "wrote"}
    assert set(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()) == winners
    assert catalog.spec in specs
