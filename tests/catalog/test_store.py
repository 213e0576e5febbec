"""Opening, writing and reading a catalogue."""

import pickle
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lancedb.expr import col

from catalog.clip_spec import ClipSpec
from catalog.errors import (
    CatalogError,
    CatalogIncomplete,
    CatalogNotFound,
    InvalidRows,
    SpecMismatch,
    UnknownColumn,
    UnknownTable,
    VectorMismatch,
)
from catalog.maintenance import compact
from catalog.schema import KEYS, SCHEMAS
from catalog.store import Catalog
from catalog.vectors import ensure_vectors


def rows_of(catalog: Catalog, table: str, columns: list[str]) -> set[tuple]:
    return {tuple(row.values()) for row in catalog.scan(table, columns).to_pylist()}


def test_a_catalogue_has_every_table_with_its_key_and_stable_row_ids(catalog):
    for name, schema in SCHEMAS.items():
        table = catalog.tables.handle(name)
        assert table.schema.names == schema.names
        position = b"lance-schema:unenforced-primary-key:position"
        keys = {f.metadata[position]: f.name for f in table.schema if position in (f.metadata or {})}
        assert tuple(keys[at] for at in sorted(keys)) == KEYS[name]
        assert table.to_lance().has_stable_row_ids
    assert catalog.tables.handle("media").blob_columns() == ["video", "poster", "strip"]


def test_opening_finds_the_spec_it_was_made_with(catalog, spec):
    assert Catalog.open(catalog.uri).spec == spec
    assert Catalog.create(catalog.uri, spec).spec == spec


def test_another_spec_is_refused_and_both_are_named(catalog):
    with pytest.raises(SpecMismatch, match=r"5f-8fps-64x96.*49f-8fps-480x720"):
        Catalog.create(catalog.uri, ClipSpec())


def test_a_path_without_a_catalogue_is_one_sentence_and_stays_as_it_was(tmp_path, spec):
    with pytest.raises(CatalogNotFound, match=r"no catalogue at .*nowhere.*video2lora ingest"):
        Catalog.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "videos").mkdir()
    with pytest.raises(CatalogNotFound, match="not a catalogue"):
        Catalog.open(tmp_path / "videos")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CatalogNotFound):
        Catalog.open(tmp_path / "notes.txt")
    with pytest.raises(CatalogError, match="is a file"):
        Catalog.create(tmp_path / "notes.txt", spec)
    with pytest.raises(CatalogError, match="Cannot write"):
        Catalog.create(tmp_path / "notes.txt" / "below", spec)


def test_a_relative_path_means_the_same_place_from_another_folder(tmp_path, spec, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = Catalog.create("here", spec)
    monkeypatch.chdir("/")
    assert catalog.count("clips") == 0
    assert Path(catalog.uri) == tmp_path / "here"


@pytest.mark.parametrize("missing", ["media", "events"])
def test_a_half_made_catalogue_is_refused_by_open_and_completed_by_create(catalog, spec, missing):
    catalog.upsert("clips", [{"clip_id": "a"}])
    shutil.rmtree(Path(catalog.uri) / f"{missing}.lance")
    (Path(catalog.uri) / f"{missing}.lance" / "data").mkdir(parents=True)  # killed before the first manifest
    with pytest.raises(CatalogIncomplete, match=missing):
        Catalog.open(catalog.uri)
    completed = Catalog.create(catalog.uri, spec)
    assert completed.count(missing) == 0
    assert Catalog.open(catalog.uri).count("clips") == 1


def test_a_catalogue_of_an_older_release_gains_the_columns_it_lacks(catalog, spec):
    catalog.upsert("clips", [{"clip_id": "a", "caption": "kept"}])
    catalog.tables.handle("clips").drop_columns(["flicker", "phash"])
    newer = Catalog.create(catalog.uri, spec)
    assert newer.scan("clips", ["clip_id", "caption", "flicker", "phash"]).to_pylist() == [
        {"clip_id": "a", "caption": "kept", "flicker": None, "phash": None}
    ]
    assert newer.spec == spec


def test_an_upsert_replaces_known_keys_and_adds_new_ones(catalog):
    assert catalog.upsert("clips", [{"clip_id": "a", "caption": "one"}, {"clip_id": "b"}]) == 2
    before = catalog.versions()["clips"]
    assert catalog.upsert("clips", [{"clip_id": "a", "motion": 0.5}, {"clip_id": "c"}]) == 2
    assert catalog.versions()["clips"] == before + 1
    assert rows_of(catalog, "clips", ["clip_id", "caption", "motion"]) == {
        ("a", None, 0.5),
        ("b", None, None),
        ("c", None, None),
    }


def test_of_rows_with_one_key_in_one_call_the_last_counts(catalog):
    rows = [{"clip_id": "a", "caption": str(n)} for n in range(5)] + [{"clip_id": "b", "caption": "b"}]
    assert catalog.upsert("clips", rows) == 2
    assert rows_of(catalog, "clips", ["clip_id", "caption"]) == {("a", "4"), ("b", "b")}
    assert catalog.update("clips", [{"clip_id": "a", "caption": "x"}, {"clip_id": "a", "caption": "y"}]) == 1
    assert rows_of(catalog, "clips", ["clip_id", "caption"]) == {("a", "y"), ("b", "b")}


def test_a_composite_key_tells_rows_apart_by_all_its_parts(catalog):
    rows = [{"clip_id": c, "encoder_id": e, "caption": c + e} for c in "ab" for e in "xy"]
    assert catalog.upsert("features", rows) == 4
    changed = [{"clip_id": "a", "encoder_id": "y", "caption": "new"}]
    assert catalog.update("features", changed) == 1
    assert catalog.upsert("features", [{**rows[2], "text_shape": [3, 4]}]) == 1
    assert rows_of(catalog, "features", ["clip_id", "encoder_id", "caption"]) == {
        ("a", "x", "ax"),
        ("a", "y", "new"),
        ("b", "x", "bx"),
        ("b", "y", "by"),
    }
    assert sorted(catalog.get("features", ["a"])["encoder_id"].to_pylist()) == ["x", "y"]


def test_an_update_changes_only_the_given_columns_of_rows_that_exist(catalog):
    catalog.upsert("clips", [{"clip_id": "a", "caption": "kept", "motion": 0.1}, {"clip_id": "b"}])
    catalog.upsert("media", [{"clip_id": "a", "video": b"mp4", "poster": b"jpeg", "bytes": 3}])
    assert catalog.update("clips", [{"clip_id": "a", "motion": 0.9}, {"clip_id": "zz", "motion": 1.0}]) == 1
    assert catalog.update("media", [{"clip_id": "a", "poster": b"new"}]) == 1
    assert rows_of(catalog, "clips", ["clip_id", "caption", "motion"]) == {
        ("a", "kept", 0.9),
        ("b", None, None),
    }
    assert catalog.videos(["a"]) == {"a": b"mp4"}
    assert catalog.posters(["a"]) == {"a": b"new"}


def test_an_update_whose_rows_differ_in_columns_is_refused(catalog):
    catalog.upsert("clips", [{"clip_id": "a", "motion": 0.1}, {"clip_id": "b", "motion": 0.1}])
    with pytest.raises(InvalidRows, match="motion"):
        catalog.update("clips", [{"clip_id": "a", "motion": 0.9}, {"clip_id": "b"}])


def test_every_type_of_value_comes_back_as_it_was_written(catalog):
    moment = datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=UTC)
    row = {
        "clip_id": 'it\'s \\ "quoted" 🔥',
        "motion": np.float32(0.5),
        "rotation": np.int64(90),
        "phash": np.array([2**64 - 1, 0], dtype=np.uint64),
        "caption": "",
        "created_at": moment,
    }
    catalog.upsert("clips", [row])
    found = catalog.get("clips", [row["clip_id"]]).to_pylist()[0]
    assert {name: found[name] for name in row} == {**row, "phash": [2**64 - 1, 0]}
    assert found["category_id"] is None
    catalog.upsert("runs", [{"run_id": "r", "config": {"seed": 1}, "metrics": '{"loss": 2}'}])
    assert rows_of(catalog, "runs", ["config", "metrics"]) == {('{"seed": 1}', '{"loss": 2}')}


def test_an_arrow_table_is_written_like_rows_and_cast_to_the_columns(catalog):
    table = pa.table({"clip_id": ["a", "b"], "motion": pa.array([1, 2], pa.int8()), "caption": ["x", None]})
    assert catalog.upsert("clips", table) == 2
    assert rows_of(catalog, "clips", ["clip_id", "motion", "caption"]) == {("a", 1.0, "x"), ("b", 2.0, None)}


@pytest.mark.parametrize(
    ("table", "rows", "error", "says"),
    [
        ("clips", [{"clip_id": "a", "captoin": "x"}], UnknownColumn, "'captoin'; nearest: 'caption'"),
        ("clips", pa.table({"clip_id": ["a"], "nope": [1]}), UnknownColumn, "nope"),
        ("clips", [{"caption": "x"}], InvalidRows, "key column 'clip_id'"),
        ("clips", [{"clip_id": "a"}, {"clip_id": None}], InvalidRows, "Row 1 .* null key 'clip_id'"),
        ("clips", [{"clip_id": "a"}, {"caption": "x"}], InvalidRows, "Row 1 .* null key"),
        ("clips", [{"clip_id": ""}], InvalidRows, "empty key"),
        ("features", [{"clip_id": "a"}], InvalidRows, "encoder_id"),
        ("clips", [{"clip_id": "a", "motion": "fast"}], InvalidRows, "'motion' .* holds double"),
        ("clips", [{"clip_id": 3}], InvalidRows, "'clip_id' .* holds string"),
        ("clips", ["a"], InvalidRows, "is a str, not a dict"),
        ("adapters", [{"clip_id": "a", "model_id": "m", "vector": [float("nan")]}], InvalidRows, "NaN"),
        ("adapters", [{"clip_id": c, "model_id": "m", "vector": [0.0] * n} for c, n in ("a1", "b2")
                      for n in [int(n)]], InvalidRows, "lengths"),
        ("clip", [{"clip_id": "a"}], UnknownTable, "nearest: 'clips'"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused_whole_with_the_reason(catalog, table, rows, error, says):
    before = catalog.versions()
    for write in (catalog.upsert, catalog.update):
        if write == catalog.update and "caption" in str(rows) and error is InvalidRows:
            continue  # refused too, but for their differing columns
        with pytest.raises(error, match=says):
            write(table, rows)
    assert catalog.versions() == before


def test_writing_no_rows_makes_no_version(catalog):
    before = catalog.versions()
    assert catalog.upsert("clips", []) == catalog.update("clips", []) == 0
    assert catalog.versions() == before


def test_a_scan_takes_columns_a_filter_and_a_limit(catalog):
    catalog.upsert("clips", [{"clip_id": f"{n:03}", "motion": n / 100, "split": "train"} for n in range(100)])
    where = (col("motion") > 0.5) & (col("split") == "train")
    assert catalog.count("clips", where) == 49
    assert catalog.scan("clips", where=where).num_rows == 49
    assert catalog.scan("clips", ["motion", "clip_id"], where, limit=7).shape == (7, 2)
    assert catalog.scan("clips", limit=0).num_rows == 0
    assert catalog.scan("clips").num_rows == catalog.count("clips") == 100


@pytest.mark.parametrize(
    "text", ["x' OR 1=1 --", "'; DROP TABLE clips; --", "\\", "''", "%", "é\0🔥", "`x`", '"']
)
def test_a_value_in_a_filter_is_a_value_whatever_it_spells(catalog, text):
    catalog.upsert("clips", [{"clip_id": "it", "caption": text}, {"clip_id": "other", "caption": "x"}])
    assert catalog.scan("clips", ["clip_id"], col("caption") == text)["clip_id"].to_pylist() == ["it"]
    catalog.upsert("clips", [{"clip_id": text}])
    assert catalog.get("clips", [text], ["clip_id"])["clip_id"].to_pylist() == [text]


def test_getting_many_keys_leaves_out_unknown_and_repeated_ones(catalog):
    ids = [f"clip-{n}" for n in range(5_000)]
    catalog.upsert("clips", [{"clip_id": clip_id} for clip_id in ids])
    found = catalog.get("clips", [*ids[:4_500], ids[0], "unknown"], ["clip_id"])["clip_id"].to_pylist()
    assert sorted(found) == sorted(ids[:4_500])
    assert catalog.get("clips", [], ["clip_id"]).num_rows == 0


def test_getting_most_of_a_table_reads_it_once_and_gives_the_same(catalog, monkeypatch):
    ids = [f"clip-{n}" for n in range(300)]
    catalog.upsert("clips", [{"clip_id": clip_id, "caption": clip_id} for clip_id in ids])
    wanted = [*ids[:250], "unknown"]
    few = catalog.get("clips", wanted, ["caption"])
    monkeypatch.setattr("catalog.store._KEYS_WORTH_A_SCAN", 10)
    many = catalog.get("clips", wanted, ["caption"])
    assert many.column_names == ["caption"]
    assert sorted(many["caption"].to_pylist()) == sorted(few["caption"].to_pylist()) == sorted(ids[:250])


def test_names_that_are_not_there_are_refused_with_the_nearest(catalog):
    with pytest.raises(UnknownTable, match="'sources'"):
        catalog.scan("source")
    with pytest.raises(UnknownColumn, match="'caption'"):
        catalog.scan("clips", ["captions"])
    with pytest.raises(UnknownColumn, match="blob"):
        catalog.scan("media", ["video"])


def test_a_reader_that_keeps_its_table_sees_every_commit_of_others(catalog):
    other = Catalog.open(catalog.uri)
    for number in range(1, 6):
        other.upsert("clips", [{"clip_id": str(number), "caption": "new"}])
        assert catalog.count("clips") == number
        assert catalog.tables.version("clips") == other.tables.handle("clips").version
        other.update("clips", [{"clip_id": str(number), "caption": f"changed {number}"}])
        assert f"changed {number}" in catalog.scan("clips", ["caption"])["caption"].to_pylist()
    past = catalog.snapshot()
    other.remove("clips", ["1"])
    assert catalog.count("clips") == 4 and catalog.at(past).count("clips") == 5
    assert pickle.loads(pickle.dumps(catalog)).count("clips") == 4
    compact(other, keep=timedelta(0))
    assert sorted(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()) == ["2", "3", "4", "5"]


def test_a_catalogue_from_before_strips_has_none_until_it_is_opened_for_writing(catalog, spec):
    catalog.upsert("media", [{"clip_id": "old", "video": b"v" * 9, "poster": b"p", "bytes": 9}])
    catalog.tables.commit("media", lambda table: table.drop_columns(["strip"]))
    before = catalog.snapshot()
    assert catalog.strips(["old"]) == {}
    catalog = Catalog.create(catalog.uri, spec)
    catalog.upsert("media", [{"clip_id": "new", "video": b"w", "strip": b"s", "bytes": 1}])
    catalog.update("media", [{"clip_id": "old", "strip": b"t"}])
    assert catalog.strips(["old", "new"]) == {"old": b"t", "new": b"s"}
    assert (catalog.videos(["old"]), catalog.posters(["old"])) == ({"old": b"v" * 9}, {"old": b"p"})
    past = catalog.at(before)
    assert (past.strips(["old"]), past.posters(["old"])) == ({}, {"old": b"p"})


def test_media_come_back_byte_for_byte_and_stay_out_of_scans(catalog):
    rng = np.random.default_rng(0)
    videos = {f"c{n}": rng.bytes(size) for n, size in enumerate((10, 50_000, 300_000, 0))}
    rows = [
        {"clip_id": c, "video": v, "poster": b"p" + c.encode(), "bytes": len(v)} for c, v in videos.items()
    ]
    rows.append({"clip_id": "none", "video": b"x", "poster": None})
    catalog.upsert("media", rows)
    assert catalog.scan("media").column_names == ["clip_id", "bytes"]
    assert catalog.videos([*videos, "unknown"]) == videos
    assert catalog.posters(["c0", "none"]) == {"c0": b"pc0"}
    catalog.upsert("media", [{"clip_id": "c1", "video": b"replaced"}])
    assert catalog.videos(["c1", "c2"]) == {"c1": b"replaced", "c2": videos["c2"]}
    assert catalog.videos([]) == {}


def test_a_vector_column_takes_one_length_and_one_embedder(catalog):
    catalog.upsert("clips", [{"clip_id": "a", "caption": "kept"}])
    for _ in range(2):
        ensure_vectors(catalog, "clips", "embedding", 16, "clip-tiny")
    catalog.update("clips", [{"clip_id": "a", "embedding": np.arange(16, dtype=np.float32)}])
    # A row without its vector is no bad vector.
    catalog.upsert("clips", [{"clip_id": "b"}, {"clip_id": "c", "embedding": [1.0] * 16}])
    found = {r["clip_id"]: r for r in catalog.scan("clips", ["clip_id", "caption", "embedding"]).to_pylist()}
    assert found["a"]["embedding"] == list(range(16))
    assert found["a"]["caption"] == "kept"
    assert found["b"]["embedding"] is None
    assert found["c"]["embedding"] == [1.0] * 16
    with pytest.raises(VectorMismatch, match="not vectors of length 8"):
        ensure_vectors(catalog, "clips", "embedding", 8, "clip-tiny")
    with pytest.raises(VectorMismatch, match="'clip-tiny', not of 'clip-full'"):
        ensure_vectors(catalog, "clips", "embedding", 16, "clip-full")
    for bad in ([1.0] * 15, [float("nan")] * 16):
        with pytest.raises(InvalidRows):
            catalog.update("clips", [{"clip_id": "a", "embedding": bad}])
    ensure_vectors(catalog, "clips", "embedding", 8, "clip-full", replace=True)
    rows = catalog.scan("clips", ["caption", "embedding"]).to_pylist()
    assert [row["embedding"] for row in rows] == [None] * 3
    assert "kept" in [row["caption"] for row in rows]


def test_a_pickled_catalogue_reads_and_writes_like_the_first(catalog):
    catalog.upsert("clips", [{"clip_id": "a"}])
    copy = pickle.loads(pickle.dumps(catalog))
    copy.upsert("clips", [{"clip_id": "b"}])
    assert catalog.count("clips") == copy.count("clips") == 2
    assert (copy.uri, copy.spec) == (catalog.uri, catalog.spec)
