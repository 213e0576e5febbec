"""Runs that lose a worker or a node on the way, and end where one that lost nothing does."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch import nn

from tests.training.run.small_run import STEPS, StruckStream, assert_same_run, die, job
from tests.training.small import SmallStream, small_batch
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
            yield small_batch(numbers)


@pytest.fixture(scope="module")
def lost_nodes(tmp_path_factory) -> Path:
    """The folders of two runs on a cluster of real nodes (lost_node.py): `gone` and `back`."""
    folder = tmp_path_factory.mktemp("nodes")
    run = [sys.executable, "-m", "tests.training.run.lost_node", str(folder)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=1000, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("gone", "back"):  # Ray writes there too
        assert f"{name}: a node lost; it ended at step {STEPS}" in done.stdout
    return folder


def test_a_run_one_of_whose_two_workers_is_killed_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    marker = tmp_path / "killed"
    result = train(job(tmp_path / "run", workers=2), StruckStream(4 * 3 + 3, marker, die))
    assert marker.exists()
    assert_same_run(tmp_path / "run", uninterrupted(2).metrics_path.parent)
    assert result.step == STEPS


def test_a_run_one_of_whose_nodes_is_killed_and_replaced_equals_an_uninterrupted_one(
    uninterrupted, lost_nodes
):
    assert_same_run(lost_nodes / "back", uninterrupted(2).metrics_path.parent)


def test_an_elastic_run_one_of_whose_nodes_is_killed_goes_on_with_one_worker_and_says_so(
    uninterrupted, lost_nodes
):
    rows = read_rows(lost_nodes / "gone" / "metrics.jsonl")
    assert [row["workers"] for row in rows] == [2, 2, 1, 1, 1, 1]
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-4)
    assert shrunk(rows, 2) == "From step 3 to step 6 only 1 of 2 workers could be had."


def test_an_elastic_run_that_lost_a_worker_for_good_takes_the_same_steps_with_fewer(uninterrupted, tmp_path):
    """Two workers with sharded state were there until step 3; the cluster's four CPUs have room for one."""
    shutil.copytree(uninterrupted(2).metrics_path.parent, tmp_path / "run")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"step-{step:08d}")
    result = train(job(tmp_path / "run", workers=(1, 2), worker_cpus=3.0, zero_stage=0), SmallStream())
    assert result.resumed_from == 3
    rows = read_rows(result.metrics_path)
    assert [row["workers"] for row in rows] == [2, 2, 2, 1, 1, 1]
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-4)


def test_a_run_whose_look_kills_the_worker_goes_on_after_the_look(uninterrupted, tmp_path):
    """It has saved first: no step is done again, and no look uses up the restarts."""
    asked = replace(job(tmp_path / "run", checkpoint_every=100, max_failures=1), sample=killed)
    result = train(asked, NotedStream(tmp_path / "starts"))
    assert result.step == STEPS
    assert [row["step"] for row in read_rows(result.metrics_path)] == list(range(1, STEPS + 1))
    assert (tmp_path / "starts").read_text().split() == ["0", str(4 * 3)]
