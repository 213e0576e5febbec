"""Several processes on one catalogue at once."""

import multiprocessing
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lancedb.expr import col

from catalog.acts import apply
from catalog.changes import Change
from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation.clips import reject
from catalog.errors import ChangedMeanwhile, SpecMismatch
from catalog.events import history
from catalog.maintenance import compact
from catalog.store import Catalog
from catalog.vectors import ensure_vectors

SPAWN = multiprocessing.get_context("spawn")
WRITERS = 4


def meet_at(barrier) -> None:
    global together
    together = barrier


@pytest.fixture(scope="module")
def processes():
    """Four processes that wait for one another, so that they write at the same moment."""
    with SPAWN.Pool(WRITERS, initializer=meet_at, initargs=(SPAWN.Barrier(WRITERS),)) as pool:
        yield pool


def upsert_overlapping(catalog: Catalog, writer: int) -> None:
    together.wait(600)
    for turn in range(4):
        rows = [
            {"clip_id": f"c{n}", "caption": f"{writer}", "rotation": turn} for n in range(writer, writer + 40)
        ]
        catalog.upsert("clips", rows)
        catalog.upsert("features", [{"clip_id": r["clip_id"], "encoder_id": "e"} for r in rows])


def test_overlapping_upserts_from_four_processes_leave_exactly_one_row_per_key(catalog, processes):
    processes.starmap(upsert_overlapping, [(catalog, writer) for writer in range(WRITERS)], 1)
    keys = Counter(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist())
    assert keys == {f"c{n}": 1 for n in range(43)}
    pairs = catalog.scan("features", ["clip_id", "encoder_id"]).to_pylist()
    assert sorted(row["clip_id"] for row in pairs) == sorted(keys)
    writers = {r["clip_id"]: r["caption"] for r in catalog.scan("clips", ["clip_id", "caption"]).to_pylist()}
    assert writers["c0"] == "0"
    assert writers["c42"] == "3"


def update_one_column(catalog: Catalog, column: str) -> None:
    together.wait(600)
    for start in range(0, 60, 20):
        catalog.update("clips", [{"clip_id": f"c{n}", column: float(n)} for n in range(start, start + 20)])


def test_updates_of_different_columns_of_the_same_rows_lose_nothing(catalog, processes):
    catalog.upsert("clips", [{"clip_id": f"c{n}", "caption": "kept"} for n in range(60)])
    columns = ["motion", "blur", "flicker", "cut"]
    processes.starmap(update_one_column, [(catalog, column) for column in columns], 1)
    rows = catalog.scan("clips", ["clip_id", "caption", *columns]).to_pylist()
    assert len(rows) == 60
    for row in rows:
        assert row == {"clip_id": row["clip_id"], "caption": "kept"} | dict.fromkeys(
            columns, float(row["clip_id"][1:])
        )


def create_and_write(uri: str, spec: ClipSpec, writer: int) -> str:
    together.wait(600)
    try:
        catalog = Catalog.create(uri, spec)
    except SpecMismatch:
        return "refused"
    ensure_vectors(catalog, "clips", "embedding", 4, "clip")
    catalog.upsert("clips", [{"clip_id": f"w{writer}", "embedding": [1.0, 0, 0, 0]}])
    catalog.snapshot()
    return "wrote"


def test_processes_that_make_one_catalogue_at_once_share_it_and_one_spec_wins(tmp_path, processes):
    uri = str(tmp_path / "catalogue")
    specs = [ClipSpec(height=64), ClipSpec(height=64), ClipSpec(height=80), ClipSpec(height=80)]
    outcomes = processes.starmap(create_and_write, [(uri, spec, n) for n, spec in enumerate(specs)], 1)
    assert sorted(outcomes) == ["refused", "refused", "wrote", "wrote"]
    catalog = Catalog.open(uri)
    winners = {f"w{n}" for n, outcome in enumerate(outcomes) if outcome == "wrote"}
    assert set(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()) == winners
    assert catalog.spec in specs


def make_and_fill(uri: str, spec: ClipSpec) -> None:
    catalog = Catalog.create(uri, spec)
    for batch in range(100_000):
        rows = [{"clip_id": f"{n}", "rotation": batch} for n in range(50)]
        catalog.upsert("clips", rows)
        catalog.upsert("media", [{"clip_id": r["clip_id"], "video": bytes(20_000)} for r in rows])


def test_a_writer_killed_at_any_moment_leaves_whole_batches_and_a_catalogue_that_goes_on(tmp_path, spec):
    for seconds in (0.0, 0.02, 0.3):
        uri = str(tmp_path / f"killed-{seconds}")
        writer = SPAWN.Process(target=make_and_fill, args=(uri, spec))
        writer.start()
        while writer.is_alive() and not (Path(uri) / "clips.lance").exists():
            time.sleep(0.001)
        time.sleep(seconds)
        writer.kill()
        writer.join()
        catalog = Catalog.create(uri, spec)
        found = catalog.scan("clips", ["clip_id", "rotation"])
        assert found.num_rows in (0, 50)
        assert len(set(found["rotation"].to_pylist())) <= 1
        assert set(catalog.videos([f"{n}" for n in range(50)]).values()) <= {bytes(20_000)}
        catalog.upsert("clips", [{"clip_id": f"{n}", "caption": "again"} for n in range(60)])
        assert catalog.count("clips") == 60
        compact(catalog)


SHARED = ["shared-0", "shared-1"]
TURNS = 2


def curate(catalog: Catalog, writer: int) -> None:
    """Take clips in, and act: on own ones, and on two clips and a category that all writers count up."""
    author = Author(f"writer-{writer}")
    for turn in range(TURNS):
        own = [f"w{writer}-{turn}-{n}aaaa" for n in range(5)]
        catalog.upsert("clips", [{"clip_id": clip, "status": "accepted"} for clip in own])
        reject(catalog, Selection.of(own[:2]), author)
        while True:
            clips = catalog.get("clips", SHARED, ["clip_id", "rotation"]).to_pylist()
            categories = catalog.get("categories", ["all"], ["category_id", "size"]).to_pylist()
            changes = [
                Change("clips", [row | {"rotation": row["rotation"] + 1} for row in clips], seen=clips),
                Change(
                    "categories", [row | {"size": row["size"] + 1} for row in categories], seen=categories
                ),
            ]
            try:
                apply(catalog, "count", changes, actor=author.name)
                break
            except ChangedMeanwhile:
                continue


def look(catalog: Catalog, over: threading.Event) -> list[str]:
    """What is wrong with any state of the catalogue that is seen until the others are done."""
    wrong = []
    while True:
        last = over.is_set()
        view = catalog.at(catalog.snapshot())
        keys = Counter(view.scan("clips", ["clip_id"])["clip_id"].to_pylist())
        counted = view.get("clips", SHARED, ["rotation"])["rotation"].to_pylist()
        counted += view.get("categories", ["all"], ["size"])["size"].to_pylist()
        if max(keys.values()) > 1 or len(set(counted)) != 1:
            wrong.append(f"{keys.most_common(1)} {counted}")
        if last:
            return wrong


def two_writers_and_a_reader(uri: str, number: int) -> list[str]:
    together.wait(600)
    over = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(look, Catalog.open(uri), over)
        writers = [pool.submit(curate, Catalog.open(uri), 2 * number + n) for n in range(2)]
        for writer in writers:
            writer.result()
        over.set()
        return reader.result()


def test_eight_writers_and_four_readers_lose_and_double_nothing(catalog, processes):
    catalog.upsert("clips", [{"clip_id": clip, "rotation": 0} for clip in SHARED])
    catalog.upsert("categories", [{"category_id": "all", "size": 0}])
    wrong = processes.starmap(two_writers_and_a_reader, [(catalog.uri, n) for n in range(WRITERS)], 1)
    assert wrong == [[]] * WRITERS
    counts = 2 * WRITERS * TURNS
    assert catalog.get("clips", SHARED, ["rotation"])["rotation"].to_pylist() == [counts] * 2
    assert catalog.count("clips") == 2 + 5 * counts
    assert catalog.count("clips", col("status") == "rejected") == 2 * counts
    numbers = sorted(int(event.event_id) for event in history(catalog))
    assert numbers == list(range(1, 2 * counts + 1))
