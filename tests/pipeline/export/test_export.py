"""Exports: through the gate, whole or not at all, and read back by this product's own importers."""

import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation.categories import hold_out, rename
from catalog.curation.clips import move
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from pipeline.export import FORMATS, ExportSettings, export
from pipeline.export.atlas import NoVectors
from pipeline.export.dataset import BadExport
from pipeline.sources.survey import survey

SPEC = ClipSpec(num_frames=5, fps=8, height=64, width=96)
ANN = Author("ann")
TOLD = ("label", "caption", "licence", "licence_evidence", "source", "generator")


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """Four clips of two categories; what is said of them is hard to write down."""
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    said = [
        (
            "a1",
            "melt",
            "a red mug,\n\"quoted\" <b>bold</b>, 'it' melts",
            "CC0",
            "https://example.org/a?b=c&d",
        ),
        ("a2", "melt", None, "CC-BY-4.0", None),
        ("b1", "drip", "ذوبان 🔥", None, None),
        ("b2", "drip", "plain", "CC0", "https://example.org"),
    ]
    names = ("clip_id", "category_id", "caption", "licence", "licence_evidence")
    facts = {"status": "accepted", "split": "train", "source": "mine", "generator": None}
    catalog.upsert("clips", [dict(zip(names, row, strict=True)) | facts for row in said])
    catalog.upsert("clips", [{"clip_id": "no", "category_id": "melt", "status": "rejected"}])
    catalog.upsert("media", [{"clip_id": row[0], "video": row[0].encode() * 500} for row in said])
    rename(catalog, "melt", "Melts & drips <away>", ANN)
    return catalog


def wanted(catalog) -> list[tuple]:
    rows = catalog.scan("clips").to_pylist()
    names = {"melt": "Melts & drips <away>", "drip": "drip"}
    return sorted(
        (f"{row['clip_id']}.mp4", names[row["category_id"]], *(row[name] for name in TOLD[1:]))
        for row in rows
        if row["status"] == "accepted"
    )


def read_back(folder) -> list[tuple]:
    """What this product's importer finds in a folder, by the names of the files."""
    found = survey(folder)
    assert not found.unlisted
    sources = found.sources
    assert all(source.refusal is None for source in sources)
    return sorted(
        (source.location.rpartition("/")[2], *(getattr(source, name) for name in TOLD)) for source in sources
    )


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_read_back_with_equal_rows(catalog, tmp_path, name):
    report = export(catalog, tmp_path / "out", ExportSettings(name))
    assert (report.clips, report.categories, report.left_out) == (4, 2, {})
    assert read_back(tmp_path / "out") == wanted(catalog)
    if FORMATS[name].pack is None:
        [first] = (tmp_path / "out").rglob("a1.mp4")
        assert first.read_bytes() == b"a1" * 500


def test_every_field_that_a_trainer_or_a_viewer_asks_for_is_there_and_of_its_kind(catalog, tmp_path):
    for name in ("finetrainers", "videox-fun", "fiftyone"):
        export(catalog, tmp_path / name, ExportSettings(name))
    lines = (tmp_path / "finetrainers" / "metadata.jsonl").read_text().splitlines()
    # finetrainers calls methods of every caption, and takes paths from the folder.
    assert [type(json.loads(line)["caption"]) for line in lines] == [str] * 4
    assert all((tmp_path / "finetrainers" / json.loads(line)["file_name"]).is_file() for line in lines)
    listed = json.loads((tmp_path / "videox-fun" / "metadata.json").read_text())
    assert {(each["type"], type(each["text"])) for each in listed} == {("video", str)}
    assert all((tmp_path / "videox-fun" / each["file_path"]).is_file() for each in listed)
    told = json.loads((tmp_path / "fiftyone" / "metadata.json").read_text())
    # Without a version FiftyOne reads the form that needs no documents of its database.
    assert told == {"media_type": "video"}
    samples = json.loads((tmp_path / "fiftyone" / "samples.json").read_text())["samples"]
    for sample in samples:
        for path in (sample["filepath"], sample["frames"]):
            assert (tmp_path / "fiftyone" / path).is_file()
        assert sample["ground_truth"]["_cls"] == "Classification"


def test_shards_hold_each_clip_with_its_caption_and_all_that_is_said_of_it(catalog, tmp_path):
    export(catalog, tmp_path / "out", ExportSettings("webdataset"))
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as shard:
        names = shard.getnames()
        assert names[:3] == ["a1.mp4", "a1.txt", "a1.json"]
        assert len(names) == 12
        held = {name: shard.extractfile(name).read() for name in names}
    assert held["b1.txt"].decode() == "ذوبان 🔥"
    told = json.loads(held["a1.json"])
    assert (told["label"], told["licence"]) == ("Melts & drips <away>", "CC0")
    assert held["b2.mp4"] == b"b2" * 500


def test_only_the_terms_that_are_asked_for_leave_the_house_and_the_rest_is_told(catalog, tmp_path):
    settings = ExportSettings("parquet", licences=("CC0", "unknown"))
    report = export(catalog, tmp_path / "out", settings)
    assert (report.clips, report.left_out) == (3, {"licence CC-BY-4.0": 1})
    rows = pq.read_table(tmp_path / "out" / "metadata.parquet").to_pylist()
    assert rows[0]["licence_evidence"] == "https://example.org/a?b=c&d"
    assert sorted(file.name for file in (tmp_path / "out" / "clips").iterdir()) == [
        "a1.mp4",
        "b1.mp4",
        "b2.mp4",
    ]


def test_what_is_out_of_domain_never_enters_a_trainers_format(catalog, tmp_path):
    hold_out(catalog, "drip", ANN)
    move(catalog, Selection.of(["a2"]), "drip", ANN)
    report = export(catalog, tmp_path / "out", ExportSettings("videox-fun"))
    assert (report.clips, report.left_out) == (1, {"out of domain": 3})
    with pytest.raises(BadExport, match="never enter a training"):
        export(catalog, tmp_path / "other", ExportSettings("finetrainers", splits=("ood",)))
    assert export(catalog, tmp_path / "all", ExportSettings("parquet")).clips == 4


def test_an_export_is_of_a_snapshot_and_of_a_filter(catalog, tmp_path):
    past = catalog.at(catalog.snapshot())
    move(catalog, Selection.of(["b1"]), "melt", ANN)
    export(past, tmp_path / "out", ExportSettings("huggingface", where="category = 'drip'"))
    assert [row[0] for row in read_back(tmp_path / "out")] == ["b1.mp4", "b2.mp4"]


def test_a_map_of_the_clips_stands_beside_their_rows(catalog, tmp_path):
    with pytest.raises(NoVectors, match="video2lora embed"):
        export(catalog, tmp_path / "out", ExportSettings("parquet", layout=True))
    ensure_vectors(catalog, "clips", "embedding", 3)
    vectors = {"a1": [1, 0, 0], "a2": [0.9, 0.1, 0], "b1": [0, 1, 0], "b2": [0, 0.9, 0.2]}
    catalog.update("clips", [{"clip_id": key, "embedding": each} for key, each in vectors.items()])
    export(catalog, tmp_path / "out", ExportSettings("parquet", layout=True))
    rows = pq.read_table(tmp_path / "out" / "metadata.parquet").to_pylist()
    assert [row["neighbors"]["ids"][0] for row in rows] == [1, 0, 3, 2]
    assert all(np.isfinite([row["x"], row["y"]]).all() for row in rows)
    assert rows[0]["neighbors"]["distances"] == sorted(rows[0]["neighbors"]["distances"])
    assert read_back(tmp_path / "out") == wanted(catalog)


def test_a_map_leaves_out_what_has_no_vector_and_says_so(catalog, tmp_path):
    ensure_vectors(catalog, "clips", "embedding", 3)
    vectors = {"a1": [1, 0, 0], "b1": [0, 1, 0], "b2": [0, 0.9, 0.2]}
    catalog.update("clips", [{"clip_id": key, "embedding": each} for key, each in vectors.items()])
    report = export(catalog, tmp_path / "out", ExportSettings("parquet", layout=True))
    assert (report.clips, report.left_out) == (3, {"without a vector": 1})
    rows = pq.read_table(tmp_path / "out" / "metadata.parquet").to_pylist()
    assert [(row["clip_id"], row["neighbors"]["ids"][0]) for row in rows] == [("a1", 1), ("b1", 2), ("b2", 1)]


def test_what_cannot_be_exported_is_one_sentence_and_writes_nothing(catalog, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    cases = [
        (ExportSettings("parqet"), "out", "nearest: 'parquet'"),
        (ExportSettings("parquet"), "full", "not empty"),
        (ExportSettings("parquet", splits=("x",)), "out", "'x' is no split"),
        (ExportSettings("parquet", licences=("MIT",)), "out", "1 licence CC-BY-4.0"),
        (ExportSettings("fiftyone", layout=True), "out", "ask for the format parquet"),
    ]
    for settings, name, says in cases:
        with pytest.raises(BadExport, match=says):
            export(catalog, tmp_path / name, settings)
    catalog.upsert("clips", [{"clip_id": "lost", "status": "accepted"}])
    with pytest.raises(BadExport, match="lost has no video"):
        export(catalog, tmp_path / "out", ExportSettings("parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog", "full"]
