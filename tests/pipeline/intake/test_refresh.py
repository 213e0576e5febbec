import json

import pytest

from catalog.acts import undo
from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation.clips import approve, move, set_licence
from catalog.curation.conflicts import claims, decide
from catalog.store import Catalog
from pipeline.ingest import ingest
from pipeline.sources.given import given_pairs
from pipeline.sources.survey import discover
from tests.pipeline.in_process import store
from tests.pipeline.video.video_files import moving, write

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
# Files that have not changed are never decoded, so these tests need no Ray.


@pytest.fixture
def folder(tmp_path):
    for seed in (1, 2):
        write(tmp_path / "videos" / f"{seed}.mp4", moving(30, seed=seed))
    describe(tmp_path / "videos", label="melt", caption="a cup")
    return tmp_path / "videos"


@pytest.fixture
def catalog(folder, tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    store(catalog, discover(folder))
    return catalog


def describe(folder, **said):
    lines = [json.dumps({"path": f"{seed}.mp4", **said}) for seed in (1, 2)]
    (folder / "manifest.jsonl").write_text("\n".join(lines))


def test_a_changed_manifest_changes_the_rows_of_an_unchanged_file(catalog, folder):
    describe(folder, label="Crush it", caption="a red cup", licence="cc0", generator="kling")
    report = ingest(discover(folder), catalog)
    assert (report.counts["refreshed"], report.counts["unchanged"], report.counts["decoded"]) == (2, 2, 0)
    assert [(each["now"], each["stays_in"]) for each in report.relabelled] == [("Crush it", None)] * 2
    for clip in catalog.scan("clips").to_pylist():
        assert (clip["caption"], clip["licence"], clip["generator"]) == ("a red cup", "cc0", "kling")
        assert (clip["category_id"], clip["category_source"]) == ("crush", "label")
    assert set(catalog.scan("sources")["label"].to_pylist()) == {"Crush it"}
    before = catalog.versions()
    assert ingest(discover(folder), catalog).counts["refreshed"] == 0
    assert catalog.versions() == before


def test_a_category_that_a_person_gave_survives_a_changed_label(catalog, folder):
    ids = catalog.scan("clips")["clip_id"].to_pylist()
    catalog.update(
        "clips", [{"clip_id": key, "category_id": "glow", "category_source": "human"} for key in ids]
    )
    before = set(catalog.scan("sources")["label"].to_pylist())
    describe(folder, label="crush", caption="a cup")
    report = ingest(discover(folder), catalog)
    assert set(catalog.scan("clips")["category_id"].to_pylist()) == {"glow"}
    assert {(each["before"], each["now"], each["stays_in"]) for each in report.relabelled} == {
        (label, "crush", "glow") for label in before
    }


def test_a_licence_that_changed_on_disk_waits_for_whoever_stated_another(catalog, folder):
    first, second = sorted(catalog.scan("clips")["clip_id"].to_pylist())
    set_licence(catalog, Selection.of([first]), "cc-by-4.0", Author("ann"), "a letter")
    describe(folder, label="melt", caption="a cup", licence="proprietary", licence_evidence="terms.txt")
    report = ingest(discover(folder), catalog)
    rows = {row["clip_id"]: row for row in catalog.scan("clips").to_pylist()}
    assert (rows[first]["licence"], rows[first]["licence_evidence"]) == ("cc-by-4.0", "a letter")
    assert (rows[second]["licence"], rows[second]["licence_evidence"]) == ("proprietary", "terms.txt")
    assert report.claims == 1
    told = [(each.clip_id, each.what, each.stands, each.claimed) for each in claims(catalog)]
    assert told == [(first, "licence", "cc-by-4.0", "proprietary")]
    ingest(discover(folder), catalog)
    assert len(claims(catalog)) == 1  # asked until somebody decides
    done = set_licence(catalog, Selection.of([first]), "cc-by-4.0", Author("bob"), "a letter")
    assert claims(catalog) == []
    ingest(discover(folder), catalog)
    assert claims(catalog) == []  # and not again
    undo(catalog, done.event, actor="bob")
    assert len(claims(catalog)) == 1
    describe(folder, label="melt", caption="a cup", licence="cc-by-4.0")
    ingest(discover(folder), catalog)
    assert claims(catalog) == []  # the data set has come round


def test_a_label_that_changed_on_disk_waits_for_whoever_moved_the_clip(catalog, folder):
    catalog.upsert("categories", [{"category_id": "glow", "name": "glow", "state": "active"}])
    ids = sorted(catalog.scan("clips")["clip_id"].to_pylist())
    move(catalog, Selection.of(ids), "glow", Author("ann"))
    describe(folder, label="crush", caption="a cup")
    ingest(discover(folder), catalog)
    assert [(each.stands, each.claimed) for each in claims(catalog)] == [("glow", "crush")] * 2
    approve(catalog, Selection.of(ids[:1]), Author("bob"))
    decide(catalog, Selection.of(ids[1:]), "Crush it", Author("bob"))
    assert claims(catalog) == []
    rows = {row["clip_id"]: row["category_id"] for row in catalog.scan("clips").to_pylist()}
    assert [rows[key] for key in ids] == ["glow", "crush"]


def test_a_manifest_that_says_less_takes_nothing_away(catalog, folder):
    (folder / "manifest.jsonl").unlink()
    ingest(discover(folder), catalog)
    assert set(catalog.scan("clips")["caption"].to_pylist()) == {"a cup"}


def test_given_pairs_are_found_again_as_clips(tmp_path):
    for seed in (1, 2, 3):
        write(tmp_path / "set" / "vfx_videos" / f"{seed}.mp4", moving(30, seed=seed))
    (tmp_path / "set" / "vap_data.csv").write_text(
        "video_paths,kind,tar_video_caption,ref_video_paths,reference_alignment_score\n"
        'vfx_videos/1.mp4,melt,a cup,"[""vfx_videos/2.mp4"", ""vfx_videos/3.mp4""]",80\n'
        'vfx_videos/2.mp4,melt,a mug,"[""vfx_videos/1.mp4""]",4.5\n'
    )
    sources = discover(tmp_path / "set")
    # The third is named as a reference only, and is an input all the same.
    assert [source.label for source in sources] == ["melt"] * 3
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    store(catalog, sources)
    rows = catalog.scan("clips", ["clip_id", "source_uri"]).to_pylist()
    number = {row["clip_id"]: int(row["source_uri"][-5]) for row in rows}
    pairs = {(number[pair.target], number[pair.reference], pair.score) for pair in given_pairs(catalog)}
    assert pairs == {(1, 2, 80), (1, 3, 80), (2, 1, 4.5)}
    ingest(sources, catalog)  # once more changes nothing about them
    assert len(given_pairs(catalog)) == 3
