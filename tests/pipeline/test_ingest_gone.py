"""Files that go, come back or move, and parts that nobody names any more: what becomes of their clips."""

import shutil
from dataclasses import replace

import pytest
from lancedb.expr import col

from catalog.curation.set_aside import gone_clips, set_aside_gone
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.curation.policy import QualityPolicy
from pipeline.curation.rejudge import rejudge
from pipeline.ingest import ingest
from pipeline.intake.settings import IngestSettings
from pipeline.sources.survey import discover, survey
from tests.pipeline.test_ingest import SPEC
from tests.pipeline.video.video_files import moving, write

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def catalog(tmp_path):
    return Catalog.create(tmp_path / "catalog", SPEC)


def standing(catalog) -> list[tuple]:
    """(address's last part, outcome, reason code) of every source."""
    rows = catalog.scan("sources", ["source_uri", "outcome", "reason_code"]).sort_by("source_uri").to_pylist()
    return [(row["source_uri"].rpartition("/")[2], row["outcome"], row["reason_code"]) for row in rows]


def test_a_clip_that_its_source_no_longer_stands_for_is_set_aside_and_comes_back(catalog, tmp_path):
    path = write(tmp_path / "a.mp4", moving(60, seed=1))
    (source,) = discover(path)
    early, late = (replace(source, window=f"frames:{part}") for part in ("0-29", "30-59"))

    def state() -> dict:
        rows = catalog.scan("clips", ["window_start", "status", "reason_code"]).to_pylist()
        return {round(row["window_start"], 1): (row["status"], row["reason_code"]) for row in rows}

    ingest([early], catalog)
    ingest([late], catalog)
    assert state() == {0.0: ("rejected", "superseded"), 2.5: ("accepted", None)}
    rejudge(catalog, QualityPolicy())
    assert state()[0.0] == ("rejected", "superseded")
    ingest([early], catalog)
    assert state() == {0.0: ("accepted", None), 2.5: ("rejected", "superseded")}


def test_a_part_that_another_source_still_names_stays(catalog, tmp_path):
    path = write(tmp_path / "v" / "a.mp4", moving(60, seed=1))
    shutil.copy(path, tmp_path / "v" / "b.mp4")
    first, second = (replace(source, window="frames:0-29") for source in discover(tmp_path / "v"))
    ingest([first, second], catalog)
    ingest([replace(first, window="frames:30-59")], catalog)
    assert catalog.count("clips", where=col("status") == "accepted") == 2


def test_a_file_that_was_not_there_is_tried_again_by_the_next_run(catalog, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    sources = discover(path)
    path.rename(tmp_path / "away.mp4")
    assert ingest(sources, catalog).reasons == {"missing": 1}
    assert standing(catalog) == [("a.mp4", "quarantined", "missing")]
    versions = catalog.versions()
    ingest(sources, catalog)
    assert catalog.versions() == versions
    (tmp_path / "away.mp4").rename(path)
    assert ingest(sources, catalog).counts["accepted"] == 1


def test_a_clip_outlives_its_file_and_the_file_comes_back(catalog, tmp_path):
    path = write(tmp_path / "v" / "a.mp4", moving(30))
    write(tmp_path / "v" / "b.mp4", moving(30, seed=2))
    found = survey(tmp_path / "v")
    ingest(found.sources, catalog, scope=found.scope)
    path.rename(tmp_path / "away.mp4")
    # Whether a list still names it or not.
    for sources in (found.sources, discover(tmp_path / "v")):
        report = ingest(sources, catalog, scope=found.scope)
        assert standing(catalog) == [("a.mp4", "gone", "deleted"), ("b.mp4", "accepted", None)]
        assert report.counts["found"] == sum(report.counts[name] for name in Outcome)
    assert catalog.count("clips", where=col("status") == "accepted") == 2
    (tmp_path / "away.mp4").rename(path)
    back = ingest(found.sources, catalog, scope=found.scope)
    assert (back.counts["accepted"], back.counts["gone"], back.counts["decoded"]) == (2, 0, 0)


def test_a_file_that_moved_keeps_its_clip_and_takes_its_new_label(catalog, tmp_path):
    for name, seed in (("melt/a.mp4", 1), ("melt/b.mp4", 2), ("crush/c.mp4", 3)):
        write(tmp_path / "v" / name, moving(30, seed=seed))

    def run():
        found = survey(tmp_path / "v")
        return ingest(found.sources, catalog, scope=found.scope)

    run()
    before = {c["source_uri"][-5:]: c["clip_id"] for c in catalog.scan("clips").to_pylist()}
    (tmp_path / "v/melt/b.mp4").rename(tmp_path / "v/crush/b.mp4")
    (tmp_path / "v/melt/a.mp4").unlink()
    report = run()
    assert (report.counts["gone"], report.counts["decoded"]) == (2, 0)
    assert report.reasons == {"moved": 1, "deleted": 1}
    assert {row["source_uri"][-10:] for row in report.refused} == {"melt/a.mp4", "melt/b.mp4"}
    clips = {c["source_uri"].removeprefix(f"{tmp_path}/v/"): c for c in catalog.scan("clips").to_pylist()}
    assert clips["crush/b.mp4"]["clip_id"] == before["b.mp4"]
    assert clips["crush/b.mp4"]["category_id"] == "crush"
    (row,) = catalog.get("sources", [str(tmp_path / "v/crush/b.mp4")]).to_pylist()
    assert (row["outcome"], row["reason"]) == ("accepted", None)
    assert gone_clips(catalog) == [before["a.mp4"]]
    again = run()
    assert (again.counts["found"], again.counts["gone"], again.counts["unchanged"]) == (2, 0, 2)
    # What has no file any more is still used, until somebody sets it aside; a file brings it back.
    _, clips = set_aside_gone(catalog, "somebody")
    assert clips == [before["a.mp4"]]
    rejudge(catalog, QualityPolicy())
    assert catalog.count("clips", where=col("status") == "accepted") == 2
    write(tmp_path / "v/melt/a.mp4", moving(30, seed=1))
    assert run().counts["accepted"] == 3
    assert catalog.count("clips", where=col("status") == "accepted") == 3


def test_a_file_that_moved_to_another_place_altogether_takes_its_clip_along(catalog, tmp_path):
    path = write(tmp_path / "old" / "melt" / "a.mp4", moving(30))
    ingest(discover(path.parent.parent), catalog)
    (tmp_path / "new" / "crush").mkdir(parents=True)
    path.rename(tmp_path / "new" / "crush" / "a.mp4")
    report = ingest(discover(tmp_path / "new"), catalog)
    assert (report.counts["accepted"], report.counts["gone"], report.counts["decoded"]) == (1, 1, 0)
    (clip,) = catalog.scan("clips", ["source_uri", "category_id"]).to_pylist()
    assert clip == {"source_uri": str(tmp_path / "new/crush/a.mp4"), "category_id": "crush"}


def test_clips_whose_files_are_gone_are_set_aside_by_a_setting(catalog, tmp_path):
    for seed in (1, 2):
        write(tmp_path / "v" / f"{seed}.mp4", moving(30, seed=seed))
    found = survey(tmp_path / "v")
    ingest(found.sources, catalog, scope=found.scope)
    (tmp_path / "v" / "1.mp4").unlink()
    ingest(discover(tmp_path / "v"), catalog, IngestSettings(set_aside_gone=True), scope=found.scope)
    rows = catalog.scan("clips", ["source_uri", "status", "reason_code"]).sort_by("source_uri").to_pylist()
    told = [(row["status"], row["reason_code"]) for row in rows]
    assert told == [("rejected", "source_gone"), ("accepted", None)]


def test_an_entry_that_names_nothing_is_a_row_and_goes_when_the_manifest_is_mended(catalog, tmp_path):
    write(tmp_path / "a.mp4", moving(12))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label\na.mp4,melt\na.mp4,melt\n")

    def run():
        found = survey(manifest)
        return ingest(found.sources, catalog, scope=found.scope)

    assert run().reasons == {"listed_twice": 1}
    before = catalog.versions()
    run()
    assert catalog.versions() == before
    manifest.write_text("path,label\na.mp4,melt\n")
    assert run().counts["gone"] == 1
    assert run().counts["found"] == 1
