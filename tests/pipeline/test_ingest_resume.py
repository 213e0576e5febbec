"""Runs that are killed, and runs that meet: the catalogue afterwards is that of one quiet run."""

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from catalog.store import Catalog
from tests.pipeline.video.video_files import moving, write

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "tests.pipeline.ingest_process"]
CONTENT = ["clip_id", "source_uri", "sha256", "status", "motion", "window_end", "category_id"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for seed in range(14):
        write(folder / f"effect{seed % 3}" / f"{seed:02d}.mp4", moving(50, seed=seed))
    shutil.copy(folder / "effect0" / "00.mp4", folder / "effect1" / "zz copy.mp4")
    (folder / "effect2" / "text.mp4").write_text("no video")
    return folder


def start(videos, place, commit_rows: int = 2) -> subprocess.Popen:
    command = [*COMMAND, str(videos), str(place), str(commit_rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def counts_of(run: subprocess.Popen) -> dict:
    said, _ = run.communicate(timeout=900)
    assert run.returncode == 0
    return json.loads(said.splitlines()[-1])


def content(place) -> tuple:
    catalog = Catalog.open(place)
    clips = catalog.scan("clips", CONTENT).sort_by("clip_id").to_pylist()
    columns = ["source_uri", "outcome", "reason_code", "clip_ids", "sha256"]
    sources = catalog.scan("sources", columns).sort_by("source_uri").to_pylist()
    return clips, sources, sorted(catalog.videos([clip["clip_id"] for clip in clips]).items())


@pytest.fixture(scope="module")
def quiet(videos, tmp_path_factory):
    """What one undisturbed run makes of the videos."""
    place = tmp_path_factory.mktemp("quiet") / "catalog"
    counts = counts_of(start(videos, place))
    assert (counts["found"], counts["accepted"], counts["duplicate"], counts["rejected"]) == (16, 14, 1, 1)
    return content(place)


def wait_until_working(run: subprocess.Popen, results: int) -> None:
    for _ in range(results):
        while run.stdout.readline().strip() != "working":
            assert run.poll() is None


def family(run: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(run.pid).children(recursive=True)


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.mark.parametrize("results", [5])
def test_a_run_whose_machine_dies_is_continued_by_the_next(videos, tmp_path, quiet, results):
    run = start(videos, tmp_path / "catalog")
    wait_until_working(run, results)
    others = family(run)
    os.kill(run.pid, signal.SIGKILL)
    end(others)
    run.wait(60)
    run.stdout.close()
    done = Catalog.open(tmp_path / "catalog").count("sources")
    assert done < 16
    counts = counts_of(start(videos, tmp_path / "catalog"))
    assert counts["unchanged"] >= done
    assert counts["found"] == counts["accepted"] + counts["duplicate"] + counts["rejected"] == 16
    assert content(tmp_path / "catalog") == quiet


@pytest.mark.parametrize("times", [1, 3])
def test_a_run_that_somebody_stops_writes_what_it_has_and_says_what_is_left(videos, tmp_path, quiet, times):
    run = start(videos, tmp_path / "catalog", commit_rows=1000)
    wait_until_working(run, 5)
    for _ in range(times):
        run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    catalog = Catalog.open(tmp_path / "catalog")
    done = catalog.count("sources")
    assert done >= 5
    assert f"stopped: {done} of 16 inputs are in the catalogue" in said
    assert f"does the other {16 - done}" in said
    counts = counts_of(start(videos, tmp_path / "catalog"))
    assert counts["unchanged"] == done
    assert content(tmp_path / "catalog") == quiet


def test_a_killed_worker_and_a_killed_decoder_leave_no_partial_clip_and_lose_none(videos, tmp_path, quiet):
    run = start(videos, tmp_path / "catalog")
    wait_until_working(run, 1)
    decoders = [p for p in family(run) if "pipeline.video.sandbox_child" in " ".join(p.cmdline())]
    assert decoders
    workers = [decoder.parent() for decoder in decoders]
    end(workers[:1])
    counts = counts_of(run)
    assert counts["found"] == 16
    assert counts["quarantined"] == 0
    assert content(tmp_path / "catalog") == quiet


def test_two_runs_at_once_on_overlapping_sources_make_one_catalogue(videos, tmp_path, quiet):
    place = tmp_path / "catalog"
    runs = [start(videos, place), start(videos, place)]
    for run in runs:
        counts_of(run)
    clips, sources, media = content(place)
    assert clips == quiet[0]
    assert sources == quiet[1]
    assert media == quiet[2]
