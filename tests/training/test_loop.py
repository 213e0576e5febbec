"""The loop with real Ray Train workers, real DeepSpeed engines and the real method, very small."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.small import SmallStream, small_batch, small_module
from training.checkpoint import CheckpointError, list_checkpoints, newest_checkpoint, read_checkpoint
from training.config import TrainSettings
from training.errors import BadBatch
from training.loop import TrainJob, TrainResult, train
from training.run_folder import Diverged
from training.watch import TIMING_COLUMNS, read_rows

STEPS = 10
ROOT = Path(__file__).parents[2]


def job(folder: Path, workers: int | tuple[int, int] = 1, **changes) -> TrainJob:
    settings = {
        "steps": STEPS,
        "batch_size": 4 // (workers if isinstance(workers, int) else workers[1]),
        "workers": workers,
        "lr": 3e-3,
        "warmup_steps": 2,
        "schedule": "cosine",
        "ema_decay": 0.9,
        "checkpoint_every": 3,
        "evaluate_every": 5,
        "worker_threads": 1,
        "trackers": (),
    } | changes
    return TrainJob(
        TrainSettings(**settings), small_module, folder, identity={"method": "small"}, evaluate=held_out
    )


def held_out(module: nn.Module, step: int) -> dict[str, float]:
    return {"loss": module(small_batch([901, 902])).loss.item()}


@dataclass
class FatalStream:
    """Kills the worker that asks for a sample, once: the marker file remembers."""

    sample: int
    marker: Path

    def __call__(self, plan):
        for numbers in plan:
            if self.sample in numbers and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield small_batch(numbers)


@dataclass
class BrokenStream:
    """Delivers something else from a sample on: values that are not finite, or an error."""

    sample: int
    error: Exception | None = None

    def __call__(self, plan):
        for numbers in plan:
            batch = small_batch(numbers)
            if self.sample in numbers:
                if self.error is not None:
                    raise self.error
                batch.target_latents.fill_(torch.nan)
            yield batch


def deterministic(folder: Path) -> list[dict]:
    """The rows of a run without what only tells how fast it was."""
    return [
        {name: value for name, value in row.items() if name not in TIMING_COLUMNS}
        for row in read_rows(folder / "metrics.jsonl")
    ]


def assert_same_run(left: Path, right: Path) -> None:
    """Weights, masters, moments, average and every logged value are equal bit for bit."""
    assert deterministic(left) == deterministic(right)
    one, two = (newest_checkpoint(folder / "checkpoints") for folder in (left, right))
    assert one.name == two.name
    for name in ("model", "ema", "optimizer"):
        assert (one / f"{name}.safetensors").read_bytes() == (two / f"{name}.safetensors").read_bytes(), name
    assert read_checkpoint(one).samples == read_checkpoint(two).samples


@pytest.fixture(scope="module")
def uninterrupted(ray_cluster, tmp_path_factory):
    """By number of workers: the result of a run that nothing happened to. Run once each."""
    results: dict[int, TrainResult] = {}

    def run(workers: int) -> TrainResult:
        if workers not in results:
            folder = tmp_path_factory.mktemp(f"uninterrupted-{workers}")
            results[workers] = train(job(folder, workers), SmallStream())
        return results[workers]

    return run


@pytest.mark.slow
def test_a_run_ends_with_its_last_step_saved_and_every_step_logged(uninterrupted):
    result = uninterrupted(1)
    assert (result.step, result.resumed_from) == (STEPS, 0)
    assert [row["step"] for row in read_rows(result.metrics_path)] == list(range(1, STEPS + 1))
    assert {"loss", "lr", "grad_norm", "grad_norm/hypernetwork", "grad_norm/auxiliary", "data_wait"} <= (
        result.metrics.keys()
    )
    assert [path.name[-2:] for path in list_checkpoints(result.checkpoint.parent)] == ["06", "09", "10"]
    assert [row["step"] for row in read_rows(result.metrics_path) if "eval/loss" in row] == [5, 10]
    trained = read_checkpoint(result.checkpoint).optimizer.masters
    for name, start in small_module().trainable_state().items():
        assert not torch.equal(trained[name], start), name


@pytest.mark.slow
def test_two_workers_train_what_one_with_twice_the_batch_trains(uninterrupted):
    one, two = (read_rows(uninterrupted(workers).metrics_path) for workers in (1, 2))
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)
    assert [row["samples"] for row in one] == [row["samples"] for row in two]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_whose_worker_is_killed_equals_an_uninterrupted_one(uninterrupted, tmp_path, workers):
    marker = tmp_path / "killed"
    result = train(job(tmp_path / "run", workers), FatalStream(sample=4 * 7 + 3, marker=marker))
    assert marker.exists()
    assert_same_run(tmp_path / "run", uninterrupted(workers).metrics_path.parent)
    assert result.step == STEPS


@pytest.mark.slow
def test_a_run_whose_driver_is_killed_goes_on_when_started_again_and_ends_the_same(uninterrupted, tmp_path):
    """The driver is a process of its own with a Ray of its own; it is killed when half of the run is done."""
    code = (
        "import ray, sys; from pathlib import Path\n"
        "ray.init(num_cpus=2, include_dashboard=False, object_store_memory=10**8, log_to_driver=False)\n"
        "from tests.training.small import SmallStream\n"
        "from tests.training.test_loop import job\n"
        "from training.loop import train\n"
        "print(train(job(Path(sys.argv[1])), SmallStream()).resumed_from)\n"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(run, cwd=ROOT, env=environment)
    while len(read_rows(tmp_path / "metrics.jsonl")) < 4 and driver.poll() is None:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    again = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert int(again.stdout.split()[-1]) >= 3
    assert_same_run(tmp_path, uninterrupted(1).metrics_path.parent)


@pytest.mark.slow
def test_a_torn_newest_checkpoint_costs_only_the_steps_since_the_one_before(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted(1).metrics_path.parent, tmp_path / "run")
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    with (newest / "optimizer.safetensors").open("r+b") as file:
        file.truncate(100)
    result = train(job(tmp_path / "run"), SmallStream())
    assert result.resumed_from == 9
    assert_same_run(tmp_path / "run", uninterrupted(1).metrics_path.parent)


@pytest.mark.slow
def test_a_run_of_two_sharded_workers_goes_on_with_one(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted(2).metrics_path.parent, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000010")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000009")
    result = train(job(tmp_path / "run", workers=1, zero_stage=0), SmallStream())
    assert result.resumed_from == 6
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in read_rows(result.metrics_path)] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_last_good_checkpoint(ray_cluster, tmp_path):
    with pytest.raises(Diverged, match=r"step 8: the loss is nan.*step-00000006"):
        train(job(tmp_path, workers=2), BrokenStream(sample=4 * 7))
    weights = read_checkpoint(newest_checkpoint(tmp_path / "checkpoints")).optimizer.masters
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.slow
def test_what_a_person_has_to_put_right_is_told_at_once_and_not_tried_again(ray_cluster, tmp_path):
    with pytest.raises(BadBatch, match="no such clip"):
        train(job(tmp_path), BrokenStream(sample=4, error=BadBatch("There is no such clip.")))


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(uninterrupted):
    folder = uninterrupted(1).metrics_path.parent
    result = train(job(folder), SmallStream())
    assert (result.step, result.resumed_from) == (STEPS, STEPS)


def test_a_folder_with_another_models_run_is_refused_before_any_worker_starts(tmp_path):
    from tests.training.test_checkpoint import a_checkpoint
    from training.checkpoint import write_checkpoint

    write_checkpoint(tmp_path / "checkpoints", a_checkpoint())
    with pytest.raises(CheckpointError, match="belongs to another model"):
        train(job(tmp_path), SmallStream())


@pytest.mark.slow
def test_an_elastic_run_with_room_for_fewer_workers_takes_the_same_steps(uninterrupted, tmp_path):
    result = train(job(tmp_path, workers=(1, 2), worker_cpus=3.0), SmallStream())  # the cluster has four
    rows = read_rows(result.metrics_path)
    assert {row["workers"] for row in rows} == {1}
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-4)
