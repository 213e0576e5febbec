"""Runs that lose a worker or a node on the way, and end where one that lost nothing does."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch import nn

from tests.training.run.small_run import STEPS, StruckStream, assert_same_run, die, job
from tests.training.run.toy import toy_batch, toy_job
from training.run.loop import train
from training.run.watch import read_rows, shrunk

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def killed(module: nn.Module, folder: Path, worker: int, workers: int, together: bool) -> None:
    """Samples that end the worker, the first time."""
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        die()


@dataclass
class NotedStream:
    """Writes down the first sample that each start asks for."""

    starts: Path

    def __call__(self, plan):
        for at, numbers in enumerate(plan):
            if at == 0:
                with self.starts.open("a") as file:
                    file.write(f"{numbers[0]}\n")
            yield toy_batch(numbers)


def test_a_run_one_of_whose_two_workers_is_killed_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    marker = tmp_path / "killed"
    result = train(job(tmp_path / "run", workers=2), StruckStream(4 * 3 + 3, marker, die))
    assert marker.exists()
    assert_same_run(tmp_path / "run", uninterrupted(2).metrics_path.parent)
    assert result.step == STEPS


def test_an_elastic_run_saves_at_notice_goes_on_alone_and_grows_when_a_node_returns(uninterrupted, tmp_path):
    """The run of lost_node.py, which saves every second step: one is done again, and after notice none."""
    run = [sys.executable, "-m", "tests.training.run.lost_node", str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"1 nodes lost; it ended at step {STEPS}" in done.stdout  # Ray writes there too
    # By first sample, of four in a step, and number of workers.
    assert (tmp_path / "starts").read_text().splitlines() == ["0 2", f"{4 * 3} 1", f"{4 * 4} 2"]
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["workers"] for row in rows] == [2, 2, 2, 1, 2, 2]
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-4)
    assert shrunk(rows, 2) == "From step 4 to step 4 only 1 of 2 workers could be had."


def test_a_run_whose_look_kills_the_worker_goes_on_after_the_look(ray_cluster, tmp_path):
    """It has saved first: no step is done again, and no look uses up the restarts."""
    asked = replace(toy_job(tmp_path / "run", checkpoint_every=100, evaluate_every=3), sample=killed)
    result = train(asked, NotedStream(tmp_path / "starts"))
    assert result.step == STEPS
    assert [row["step"] for row in read_rows(result.metrics_path)] == list(range(1, STEPS + 1))
    assert (tmp_path / "starts").read_text().split() == ["0", str(4 * 3)]
