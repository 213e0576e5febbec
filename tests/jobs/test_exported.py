"""What Prometheus reads on a node's metrics port while commands work on a real Ray."""

import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from catalog.leases import take
from jobs.curate import embed_step, ingest_step
from jobs.job import Job
from jobs.place import Place
from jobs.workspace import Workspace
from pipeline.video.transcode import encode_video
from tests.pipeline.made import frames
from tests.training.run.toy import ToyStream, toy_job
from training.metrics import CLIPS, DATA_WAIT, FAILURES, LEASE, LOSS, MODEL_MADE, QUEUE, STEP
from training.run.loop import train

pytestmark = pytest.mark.slow
PATIENCE = 90.0


def exported(ray_cluster) -> list[tuple[str, dict[str, str], float]]:
    """Name, tags and value of every line of this project that the node shows now."""
    node = ray_cluster.nodes()[0]
    with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as page:
        lines = re.findall(r"^(ray_video2lora_\w+)\{(.*)\} (\S+)$", page.read().decode(), re.MULTILINE)
    return [(name, dict(re.findall(r'(\w+)="([^"]*)"', tags)), float(value)) for name, tags, value in lines]


def awaited(ray_cluster, wanted) -> list[tuple[str, dict[str, str], float]]:
    """The lines, as soon as `wanted` of them holds: Ray gathers every ten seconds."""
    end = time.monotonic() + PATIENCE
    while not wanted(lines := exported(ray_cluster)):
        assert time.monotonic() < end, lines
        time.sleep(0.5)
    return lines


def value(lines, metric, **tags) -> float | None:
    found = [v for name, told, v in lines if name == metric.exported and told.items() >= tags.items()]
    return found[-1] if found else None


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "videos" / "melt"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.mp4").write_bytes(encode_video(frames("melt", number), 8))
    (folder / "torn.mp4").write_bytes(b"no video")
    return folder.parent


def test_clips_failures_and_what_waits_are_shown_by_stage(ray_cluster, videos, tmp_path):
    workspace = Workspace(tmp_path / "work")
    with Job("ingest", workspace) as job:
        made = datetime(2026, 11, 1, tzinfo=UTC)
        job.catalog.upsert("models", [{"model_id": "m", "path": "m", "created_at": made}])
        take(job.catalog, "retrain", "a-machine:7", seconds=600)
        before = exported(ray_cluster)
        ingest_step(job, Place.of(str(videos), None, [], {}))
        embed_step(job)
    reason = job.report["refused"][0]["reason_code"]

    def told(lines):
        grown = [
            (value(lines, CLIPS, stage=stage) or 0) - (value(before, CLIPS, stage=stage) or 0)
            for stage in ("ingest", "embed")
        ]
        waiting = [value(lines, QUEUE, stage=stage) for stage in ("ingest", "embed")]
        return grown == [2, 2] and waiting == [0, 0] and value(lines, MODEL_MADE, role="newest")

    lines = awaited(ray_cluster, told)
    assert value(lines, FAILURES, stage="ingest", reason=reason) >= 1
    assert value(lines, MODEL_MADE, role="newest") == pytest.approx(made.timestamp())
    assert value(lines, LEASE, lease="retrain", holder="a-machine:7") > made.timestamp()


def test_a_run_shows_its_steps_its_loss_and_its_wait_for_data_while_it_trains(ray_cluster, tmp_path):
    job = toy_job(tmp_path / "run", steps=8, log_every=1)
    training = threading.Thread(target=train, args=(job, ToyStream(seconds=2.0)))
    training.start()
    try:
        lines = awaited(ray_cluster, lambda lines: value(lines, STEP, run=job.run_id) is not None)
    finally:
        training.join()
    assert value(lines, STEP, run=job.run_id) >= 1
    assert value(lines, LOSS, run=job.run_id) > 0
    # The stream takes seconds over a batch, and a step of the toy milliseconds.
    assert value(lines, DATA_WAIT, run=job.run_id) > 0.5
