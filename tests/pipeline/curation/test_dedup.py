import pytest
from lancedb.expr import col

from catalog.acts import undo
from catalog.clip_spec import ClipSpec
from catalog.errors import ChangedMeanwhile, UnknownEvent
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.curation.dedup import deduplicate
from pipeline.ingest import ingest
from pipeline.sources.survey import discover
from tests.pipeline.in_process import store
from tests.pipeline.video.video_files import ffmpeg, moving, write

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
COPIES = {
    "smaller.mp4": ["-vf", "scale=80:60", "-crf", "30"],
    "trimmed.mp4": ["-ss", "0.5", "-t", "3.5"],
    "mirrored.mp4": ["-vf", "hflip", "-crf", "24"],
}


@pytest.fixture
def catalog(tmp_path):
    """One video, three copies of it, and another one; ingested, nothing marked."""
    videos = tmp_path / "videos"
    original = write(videos / "original.mp4", moving(60, 144, 192, seed=1))
    for name, how in COPIES.items():
        ffmpeg("-i", str(original), *how, str(videos / name))
    write(videos / "another.mp4", moving(60, 144, 192, seed=17)[:, ::-1].copy())
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    store(catalog, discover(videos))
    return catalog


def by_name(catalog):
    columns = ["source_uri", "clip_id", "status", "duplicate_of", "duplicate_group"]
    return {row["source_uri"].rsplit("/", 1)[1]: row for row in catalog.scan("clips", columns).to_pylist()}


def test_copies_are_marked_and_the_best_is_kept(catalog):
    report = deduplicate(catalog)
    rows = by_name(catalog)
    kept = rows["original.mp4"]["clip_id"]
    assert {name for name, row in rows.items() if row["status"] == "duplicate"} == set(COPIES)
    assert {rows[name]["duplicate_of"] for name in COPIES} == {kept}
    assert len({row["duplicate_group"] for name, row in rows.items() if name != "another.mp4"}) == 1
    assert rows["another.mp4"]["duplicate_group"] is None
    assert report.counts["duplicates"] == 3


def test_the_sources_of_marked_clips_count_as_duplicates_and_every_input_is_counted_once(catalog, tmp_path):
    deduplicate(catalog)
    again = ingest(discover(tmp_path / "videos"), catalog)
    assert again.counts["decoded"] == 0
    assert (again.counts["accepted"], again.counts["duplicate"]) == (2, 3)
    assert sum(again.counts[name] for name in Outcome) == again.counts["found"] == 5
    assert again.reasons == {"near_duplicate": 3}


def test_looking_again_changes_nothing(catalog):
    deduplicate(catalog)
    before = catalog.versions()
    report = deduplicate(catalog)
    assert (report.event, report.counts["changed"]) == (None, 0)
    assert catalog.versions() == before


def test_what_was_undone_is_as_before_and_stays_so(catalog):
    before = by_name(catalog)
    event = deduplicate(catalog).event
    undoing = undo(catalog, event, actor="somebody")
    assert undoing.changed == {"clips": 4, "sources": 3}
    assert by_name(catalog) == before
    assert catalog.count("sources", where=col("outcome") == "accepted") == 5
    again = deduplicate(catalog)
    # The copies are no longer copies of the original; of each other they were never said not to be.
    assert by_name(catalog)["original.mp4"]["status"] == "accepted"
    with pytest.raises(ChangedMeanwhile, match=rf"by event {again.event} \(dedup"):
        undo(catalog, undoing.event, actor="somebody")
    undo(catalog, again.event, actor="somebody")
    undo(catalog, undoing.event, actor="somebody")
    deduplicate(catalog)
    assert {n for n, r in by_name(catalog).items() if r["status"] == "duplicate"} == set(COPIES)


def test_an_event_that_is_not_there_is_said(catalog):
    with pytest.raises(UnknownEvent, match="no event 'nothing'"):
        undo(catalog, "nothing", actor="somebody")


def test_when_the_kept_clip_is_rejected_another_copy_takes_its_place(catalog):
    deduplicate(catalog)
    original = by_name(catalog)["original.mp4"]["clip_id"]
    catalog.update("clips", [{"clip_id": original, "status": "rejected"}])
    deduplicate(catalog)
    rows = by_name(catalog)
    accepted = {name for name in COPIES if rows[name]["status"] == "accepted"}
    assert len(accepted) == 1


def stored(tmp_path, *names: str) -> Catalog:
    """A catalogue of files below tmp_path/v, each `label/file`."""
    catalog = Catalog.create(tmp_path / "catalog2", SPEC)
    store(catalog, [source for source in discover(tmp_path / "v") if source.uri.endswith(names)])
    return catalog


EDITS = {
    "hue.mp4": "hue=h=40",
    "grey.mp4": "hue=s=0",
    "faded.mp4": "curves=vintage",
    "toy.mp4": "drawbox=x=56:y=40:w=48:h=48:color=purple:t=fill",
    "neon.mp4": "lutyuv=u=negval:v=negval",
}


def test_another_colour_or_style_of_the_same_scene_is_no_copy(tmp_path):
    original = write(tmp_path / "v" / "red.mp4", moving(60, 144, 192, seed=1))
    for name, how in EDITS.items():
        ffmpeg("-i", str(original), "-vf", how, str(tmp_path / "v" / name))
    # A copy of an edit is still one of that edit.
    ffmpeg("-i", str(tmp_path / "v" / "hue.mp4"), "-vf", "scale=80:60", str(tmp_path / "v" / "hue small.mp4"))
    rows = deduplicate(stored(tmp_path, ".mp4")).groups
    assert [[clip["file"].rpartition("/")[2] for clip in group["kept"]] for group in rows] == [["hue.mp4"]]
    assert [clip["file"].rpartition("/")[2] for clip in rows[0]["copies"]] == ["hue small.mp4"]


def test_a_copy_under_another_label_waits_for_a_person(tmp_path):
    original = write(tmp_path / "v" / "melt" / "x.mp4", moving(60, 144, 192, seed=1))
    (tmp_path / "v" / "crush").mkdir()
    ffmpeg("-i", str(original), "-crf", "30", str(tmp_path / "v" / "crush" / "y.mp4"))
    catalog = stored(tmp_path, ".mp4")
    report = deduplicate(catalog)
    assert (report.counts["duplicates"], report.counts["conflicts"]) == (0, 1)
    (conflict,) = report.conflicts
    assert sorted(conflict["categories"]) == ["crush", "melt"]
    assert sorted(clip["file"][-5:] for clip in conflict["clips"]) == ["x.mp4", "y.mp4"]
    rows = by_name(catalog)
    assert {row["status"] for row in rows.values()} == {"accepted"}
    # Both on one side of every split.
    assert len({row["duplicate_group"] for row in rows.values()} - {None}) == 1
    decided = {"category_id": "melt", "category_source": "human"}
    catalog.update("clips", [{"clip_id": rows["y.mp4"]["clip_id"], **decided}])
    again = deduplicate(catalog)
    assert (again.counts["duplicates"], again.counts["conflicts"]) == (1, 0)


def test_the_copy_that_decodes_whole_is_kept_and_not_a_larger_broken_one(tmp_path):
    original = write(tmp_path / "v" / "a.mp4", moving(60, 72, 96, seed=1))
    ffmpeg("-i", str(original), "-vf", "scale=288:216", "-crf", "18", str(tmp_path / "v" / "larger.mp4"))
    catalog = stored(tmp_path, ".mp4")
    assert deduplicate(catalog).groups[0]["kept"][0]["file"].endswith("larger.mp4")
    larger = by_name(catalog)["larger.mp4"]["clip_id"]
    catalog.update("clips", [{"clip_id": larger, "errors": 0.15}])
    assert deduplicate(catalog).groups[0]["kept"][0]["file"].endswith("a.mp4")
