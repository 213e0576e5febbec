import io
import json
import os
import shutil
from collections import Counter

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lancedb.expr import col
from PIL import Image

from catalog.acts import undo
from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation.clips import reject, set_licence
from catalog.curation.conflicts import decide
from catalog.events import history
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.cluster import ClusterSettings, cluster
from pipeline.curation.policy import Bounds, QualityPolicy
from pipeline.errors import Interrupted, PipelineError
from pipeline.ingest import ingest
from pipeline.intake.settings import IngestSettings
from pipeline.sources.survey import discover, survey
from pipeline.video.limits import DecodeLimits
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.strip import strip_size
from pipeline.video.transcode import read_clip
from tests.pipeline.sources.test_members import pictures, shard
from tests.pipeline.video.video_files import ffmpeg, moving, write

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder as people have them: two effects, a copy, and files that are no videos."""
    folder = tmp_path_factory.mktemp("videos")
    write(folder / "melt" / "a.mp4", moving(60, seed=1))
    write(folder / "Melt it" / "b.mkv", moving(20, 90, 50, seed=2))
    write(folder / "crush" / "c.mp4", moving(49, 66, 122, seed=3), fps=25)
    shutil.copy(folder / "melt" / "a.mp4", folder / "crush" / "copy of a.mp4")
    (folder / "melt" / "text.mp4").write_text("this is a text file")
    (folder / "melt" / "empty.mp4").touch()
    whole = write(folder / "melt" / "cut.mp4", moving(60, seed=4)).read_bytes()
    (folder / "melt" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write(folder / "crush" / "single.mp4", moving(1, seed=5))
    return folder


@pytest.fixture
def catalog(tmp_path):
    return Catalog.create(tmp_path / "catalog", SPEC)


@pytest.fixture(scope="module")
def ingested(videos, tmp_path_factory, ray_cluster):
    """A catalogue of the folder, and the report of making it."""
    catalog = Catalog.create(tmp_path_factory.mktemp("ingested") / "catalog", SPEC)
    return catalog, ingest(discover(videos), catalog, run_id="first")


def outcomes(catalog):
    rows = catalog.scan("sources", ["source_uri", "outcome", "reason_code"]).to_pylist()
    return {os.path.basename(r["source_uri"]): (r["outcome"], r["reason_code"]) for r in rows}  # noqa: PTH119


def test_every_input_has_its_row_and_its_reason(ingested):
    catalog, _ = ingested
    assert outcomes(catalog) == {
        "copy of a.mp4": ("accepted", None),
        "a.mp4": ("duplicate", "label_conflict"),
        "b.mkv": ("accepted", None),
        "c.mp4": ("accepted", None),
        "text.mp4": ("rejected", "not_a_video"),
        "empty.mp4": ("rejected", "empty_file"),
        "cut.mp4": ("rejected", "damaged"),
        "single.mp4": ("rejected", "too_few_frames"),
    }
    for row in catalog.scan("sources", where=col("outcome") != "accepted").to_pylist():
        assert row["reason"].endswith(".")


def test_a_commit_that_is_broken_off_is_made_again_whole(videos, catalog, monkeypatch):
    upsert, broken = Catalog.upsert, []

    def broken_once(self, table, rows):
        if table == "clips" and not broken:
            broken.append(table)
            raise KeyboardInterrupt
        return upsert(self, table, rows)

    monkeypatch.setattr(Catalog, "upsert", broken_once)
    with pytest.raises(Interrupted, match="does the other"):
        ingest(discover(videos), catalog, IngestSettings(commit_rows=1))
    assert broken
    done = catalog.scan("sources", ["clip_ids", "outcome"]).to_pylist()
    clips = set(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist())
    assert clips
    assert {clip for row in done for clip in row["clip_ids"] or ()} == clips


def test_the_report_counts_every_input_once(ingested):
    _, report = ingested
    counts = report.counts
    assert counts["found"] == 8
    assert counts["found"] == sum(counts[name] for name in Outcome)
    assert (counts["accepted"], counts["duplicate"], counts["clips"], counts["decoded"]) == (3, 1, 3, 7)
    assert report.reasons["label_conflict"] == 1
    assert [step["name"] for step in report.steps] == ["hash", "normalise", "settle"]


def test_a_stored_clip_has_the_specs_frames_rate_and_size(ingested, tmp_path):
    catalog, _ = ingested
    ids = catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()
    assert len(ids) == 3
    posters, strips = catalog.posters(ids), catalog.strips(ids)
    for key, video in catalog.videos(ids).items():
        (tmp_path / "clip.mp4").write_bytes(video)
        with av.open(str(tmp_path / "clip.mp4")) as container:
            assert container.streams.video[0].average_rate == 8
        assert read_clip(video).shape == (49, 64, 96, 3)
        assert posters[key].startswith(b"\xff\xd8")
        assert Image.open(io.BytesIO(strips[key])).size == strip_size(SPEC)


def test_a_clip_row_says_where_it_comes_from_and_what_it_looks_like(ingested, videos):
    catalog, _ = ingested
    (row,) = catalog.scan("clips", where=col("container") == "matroska").to_pylist()
    assert row["source_uri"] == str((videos / "Melt it" / "b.mkv").resolve())
    assert (row["source_width"], row["source_height"], row["source_frames"]) == (50, 90, 20)
    assert (row["category_id"], row["category_source"]) == ("melt", "label")
    assert (row["time_policy"], row["fit"], row["spec_id"]) == ("uniform", "crop", SPEC.spec_id)
    assert (row["window_start"], row["window_end"]) == pytest.approx((0, 19 / 12), abs=2e-3)
    assert 0 < row["motion"] < 1
    assert len(row["phash"]) == 25
    assert row["run_id"] == "first"


def test_a_second_run_decodes_nothing_and_changes_nothing(ingested, videos):
    catalog, first = ingested
    before = catalog.versions()
    started = []
    report = ingest(discover(videos), catalog, run_id="second", start_workers=lambda: started.append(1))
    assert not started
    assert catalog.versions() == before
    assert report.counts == first.counts | {"unchanged": 8, "decoded": 0, "clips": 0}
    assert report.reasons == first.reasons


def test_the_same_bytes_elsewhere_are_the_same_clip(ingested, videos, tmp_path):
    catalog, _ = ingested
    clips = catalog.count("clips")
    shutil.copy(videos / "crush" / "c.mp4", tmp_path / "elsewhere.mp4")
    report = ingest(discover(tmp_path / "elsewhere.mp4"), catalog)
    assert (report.counts["duplicate"], report.counts["decoded"]) == (1, 0)
    assert catalog.count("clips") == clips
    (original,) = catalog.get("sources", [str((videos / "crush" / "c.mp4").resolve())]).to_pylist()
    (copy,) = catalog.get("sources", [str(tmp_path / "elsewhere.mp4")]).to_pylist()
    assert copy["clip_ids"] == original["clip_ids"]
    assert original["source_uri"] in copy["reason"]


def test_a_changed_file_is_done_again(catalog, tmp_path):
    path = write(tmp_path / "v" / "a.mp4", moving(30, seed=1))
    ingest(discover(path), catalog)
    write(path, moving(40, seed=2))
    report = ingest(discover(path), catalog)
    assert (report.counts["found"], report.counts["decoded"]) == (1, 1)
    assert catalog.count("sources") == 1
    (row,) = catalog.scan("sources").to_pylist()
    (clip,) = catalog.get("clips", row["clip_ids"]).to_pylist()
    assert clip["source_frames"] == 40


def test_a_row_of_an_older_release_that_read_nothing_is_tried_again(catalog, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    known = {"source_uri": str(path), "outcome": "rejected", "reason_code": "unreadable"}
    told = path.stat()
    catalog.upsert("sources", [known | {"size": told.st_size, "mtime": told.st_mtime}])
    assert ingest(discover(path), catalog).counts["accepted"] == 1


def test_one_content_under_two_labels_is_a_conflict_until_they_agree(catalog, tmp_path):
    path = write(tmp_path / "v" / "melt" / "x.mp4", moving(30))
    (tmp_path / "v" / "crush").mkdir()
    shutil.copy(path, tmp_path / "v" / "crush" / "y.mp4")
    shutil.copy(path, tmp_path / "v" / "melt" / "z.mp4")
    report = ingest(discover(tmp_path / "v"), catalog)
    (conflict,) = report.conflicts
    names = {uri.removeprefix(f"{tmp_path}/v/"): label for uri, label in conflict["labels"].items()}
    assert names == {"melt/x.mp4": "melt", "crush/y.mp4": "crush", "melt/z.mp4": "melt"}
    assert report.counts["conflicts"] == 1
    assert report.reasons == {"label_conflict": 2}
    told = [row["reason"] for row in report.refused]
    assert all("labelled 'crush', and is labelled 'melt'" in reason for reason in told)
    # It belongs to neither until somebody says to which.
    cluster(catalog, ClusterSettings())
    (clip,) = catalog.scan("clips", ["category_id", "category_source"]).to_pylist()
    assert clip == {"category_id": None, "category_source": None}
    before = catalog.versions()
    assert ingest(discover(tmp_path / "v"), catalog).counts["conflicts"] == 1
    assert catalog.versions() == before
    decided = decide(catalog, Selection.of(conflict["clips"]), "crush", Author("ada"))
    closed = ingest(discover(tmp_path / "v"), catalog)
    assert (closed.counts["conflicts"], closed.reasons) == (0, {"same_content": 2})
    cluster(catalog, ClusterSettings())
    (clip,) = catalog.scan("clips", ["category_id", "category_source"]).to_pylist()
    assert clip == {"category_id": "crush", "category_source": "human"}
    clustered = history(catalog, limit=1)[0].event_id
    undo(catalog, clustered, actor="ada")
    undo(catalog, decided.event, actor="ada")
    assert ingest(discover(tmp_path / "v"), catalog).counts["conflicts"] == 1
    (tmp_path / "v" / "crush").rename(tmp_path / "v" / "melted")
    (tmp_path / "v" / "melted" / "y.mp4").rename(tmp_path / "v" / "melt" / "y.mp4")
    found = survey(tmp_path / "v")
    agreed = ingest(found.sources, catalog, scope=found.scope)
    assert agreed.counts["conflicts"] == 0
    cluster(catalog, ClusterSettings())
    assert catalog.scan("clips", ["category_id"]).to_pylist() == [{"category_id": "melt"}]


def test_what_tars_tables_and_pictures_hold_is_ingested_once_and_told_when_it_is_gone(catalog, tmp_path):
    first, second, third = (write(tmp_path / f"{n}.mp4", moving(30, seed=n)).read_bytes() for n in range(3))
    place = tmp_path / "v"
    shard(place / "melt" / "0.tar", [("a.mp4", first), ("b.mp4", second), ("c.mp4", b"no video at all")])
    pq.write_table(pa.table({"video": [third, first], "label": ["glow", "melt"]}), place / "0.parquet")
    pictures(place / "crush" / "clip")

    def run():
        found = survey(place)
        return ingest(found.sources, catalog, scope=found.scope)

    report = run()
    assert {name: report.counts[name] for name in ("found", "accepted", "duplicate", "rejected")} == {
        "found": 6,
        "accepted": 4,
        "duplicate": 1,
        "rejected": 1,
    }
    clips = catalog.scan("clips", ["source_uri", "category_id"]).to_pylist()
    assert sorted(clip["category_id"] for clip in clips) == ["crush", "glow", "melt", "melt"]
    before = catalog.versions()
    assert run().counts["unchanged"] == 6
    assert catalog.versions() == before
    shard(place / "melt" / "0.tar", [("a.mp4", first)])
    again = run()
    assert (again.counts["gone"], again.counts["decoded"]) == (2, 0)


def test_windows_of_one_file_are_clips_of_their_own(catalog, tmp_path):
    write(tmp_path / "movie.mp4", moving(72), fps=12)
    (tmp_path / "m.csv").write_text(
        "path,start,end,caption,label\nmovie.mp4,0,3,one,melt\nmovie.mp4,3,6,two,crush\n"
        "movie.mp4,30,40,three,melt\n"
    )
    report = ingest(discover(tmp_path / "m.csv"), catalog)
    assert (report.counts["accepted"], report.counts["rejected"]) == (2, 1)
    clips = catalog.scan("clips", ["caption", "category_id", "window_start"]).sort_by("caption").to_pylist()
    assert [(c["caption"], c["category_id"], round(c["window_start"])) for c in clips] == [
        ("one", "melt", 0),
        ("two", "crush", 3),
    ]
    (refused,) = report.refused
    assert refused["reason"] == "The video has nothing there: it lasts 6.00 s, and its window is 30 to 40 s."


def test_a_file_whose_name_is_no_text_is_a_row_like_any_other(catalog, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    os.rename(path, os.fsencode(tmp_path) + b"/caf\xe9.mp4")  # noqa: PTH104 - bytes
    assert ingest(discover(tmp_path), catalog).counts["accepted"] == 1
    assert outcomes(catalog) == {"caf\\xe9.mp4": ("accepted", None)}


def test_workers_that_no_machine_has_the_memory_for_are_refused_before_the_work_begins(catalog, tmp_path):
    write(tmp_path / "a.mp4", moving(12))
    with pytest.raises(PipelineError, match=r"asks for 9000000 MB.*--set ingest.worker_memory_mb="):
        ingest(discover(tmp_path), catalog, IngestSettings(worker_memory_mb=9_000_000))
    assert catalog.count("sources") == 0


def test_a_file_that_overruns_its_decoder_is_quarantined_and_can_be_tried_again(catalog, tmp_path):
    path = tmp_path / "slow.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=960x720:d=4:r=30", "-c:v", "ffv1", str(path))
    hasty = IngestSettings(normalise=NormaliseSettings(limits=DecodeLimits(decode_seconds=0.05)))
    assert ingest(discover(path), catalog, hasty).reasons == {"timed_out": 1}
    assert ingest(discover(path), catalog).counts["unchanged"] == 1
    patient = ingest(discover(path), catalog, IngestSettings(retry_quarantined=True))
    assert patient.counts["accepted"] == 1
    assert patient.counts["quarantined"] == 0


def test_a_clip_outside_the_policy_is_kept_as_rejected_with_its_media(catalog, tmp_path):
    path = write(tmp_path / "a.mp4", moving(12))
    strict = IngestSettings(policy=QualityPolicy(scores={"motion": Bounds(min=0.9)}))
    report = ingest(discover(path), catalog, strict)
    assert report.reasons == {"motion_low": 1}
    (clip,) = catalog.scan("clips").to_pylist()
    assert (clip["status"], clip["reason_code"]) == ("rejected", "motion_low")
    assert catalog.videos([clip["clip_id"]])


def test_realtime_makes_a_clip_of_every_window(catalog, tmp_path):
    path = write(tmp_path / "long.mp4", moving(160), fps=12)
    settings = IngestSettings(normalise=NormaliseSettings(time_policy="realtime"))
    report = ingest(discover(path), catalog, settings)
    assert report.counts["clips"] == 2
    (row,) = catalog.scan("sources").to_pylist()
    windows = catalog.get("clips", row["clip_ids"]).sort_by("window_start").to_pylist()
    assert [round(w["window_start"], 2) for w in windows] == [0.0, 6.12]


def test_forcing_redoes_a_clip_and_keeps_what_was_decided_about_it(catalog, tmp_path):
    path = write(tmp_path / "melt" / "a.mp4", moving(12))
    ingest(discover(path.parent), catalog)
    (clip,) = catalog.scan("clips").to_pylist()
    decided = {"category_id": "crush", "category_source": "human", "split": "val"}
    catalog.update("clips", [{"clip_id": clip["clip_id"], **decided}])
    padded = IngestSettings(force=True, normalise=NormaliseSettings(fit="pad"))
    assert ingest(discover(path.parent), catalog, padded).counts["decoded"] == 1
    (again,) = catalog.scan("clips").to_pylist()
    assert again["fit"] == "pad"
    assert {name: again[name] for name in decided} == decided


def test_progress_counts_up_to_the_number_of_inputs(catalog, tmp_path):
    for seed in range(3):
        write(tmp_path / "v" / f"{seed}.mp4", moving(12, seed=seed))
    said = []
    ingest(discover(tmp_path / "v"), catalog, progress=lambda *told: said.append(told))
    assert [(done, total) for done, total, _ in said] == [(1, 3), (2, 3), (3, 3)]
    assert Counter(said[-1][2])["accepted"] == 3


def test_what_a_person_said_survives_that_a_file_is_decoded_again(tmp_path, catalog):
    for seed in (1, 2):
        write(tmp_path / "two" / "melt" / f"{seed}.mp4", moving(30, seed=seed))
    ingest(discover(tmp_path / "two"), catalog)
    first, second = sorted(catalog.scan("clips")["clip_id"].to_pylist())
    set_licence(catalog, Selection.of([first]), "cc0", Author("ann"))
    reject(catalog, Selection.of([first]), Author("ann"), "no effect")
    lines = [json.dumps({"path": f"melt/{n}.mp4", "label": "melt", "licence": "proprietary"}) for n in (1, 2)]
    (tmp_path / "two" / "manifest.jsonl").write_text("\n".join(lines))
    ingest(discover(tmp_path / "two"), catalog, IngestSettings(force=True))
    rows = {row["clip_id"]: row for row in catalog.scan("clips").to_pylist()}
    stands = {name: rows[first][name] for name in ("status", "reason", "licence", "claimed_licence")}
    assert tuple(stands.values()) == ("rejected", "no effect", "cc0", "proprietary")
    assert (rows[second]["status"], rows[second]["licence"]) == ("accepted", "proprietary")
