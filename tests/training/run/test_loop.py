"""The loop with real Ray Train workers, real DeepSpeed engines and the real method, very small."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.run.saved import everything
from tests.training.small import SmallStream, small_batch, small_module
from training.errors import NoBatch, TooLittleMemory, TrainingError
from training.run.checkpoint import (
    CheckpointError,
    checkpoint_step,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
)
from training.run.folder import Broken, Diverged, RunFolder
from training.run.loop import TrainJob, TrainResult, train
from training.run.settings import TrainSettings
from training.run.watch import TIMING_COLUMNS, read_rows, shrunk

STEPS = 6
ROOT = Path(__file__).parents[3]


def job(folder: Path, workers: int | tuple[int, int] = 1, **changes) -> TrainJob:
    settings = {
        "steps": STEPS,
        "batch_size": 4 // (workers if isinstance(workers, int) else workers[1]),
        "workers": workers,
        "lr": 3e-3,
        "warmup_steps": 2,
        "schedule": "cosine",
        "ema_decay": 0.9,
        "checkpoint_every": 2,
        "evaluate_every": 3,
        "max_failures": 1,
        "worker_threads": 1,
        "trackers": (),
    } | changes
    return TrainJob(
        TrainSettings(**settings), small_module, folder, identity={"method": "small"}, evaluate=HeldOut()
    )


class HeldOut:
    """An evaluation; in every worker the same."""

    def measure(self, module: nn.Module, worker: int, workers: int) -> float:
        return module(small_batch([901, 902])).loss.item()

    def row(self, measured: list[float]) -> dict[str, float]:
        return {"loss": measured[0]}


def killed(module: nn.Module, folder: Path, worker: int, workers: int, together: bool) -> None:
    """Samples that end the worker, the first time."""
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)


class Forgetful(HeldOut):
    """An evaluation that runs out of memory in the last worker."""

    def measure(self, module: nn.Module, worker: int, workers: int) -> float:
        if worker == workers - 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().measure(module, worker, workers)


def full_disk(module: nn.Module, folder: Path, worker: int, workers: int, together: bool) -> None:
    """Samples for which there is no room."""
    raise OSError(errno.ENOSPC, "No space left on device")


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
class WaitingStream:
    """Delivers nothing from a sample on, once: time to be killed in."""

    sample: int
    marker: Path

    def __call__(self, plan):
        for numbers in plan:
            if self.sample in numbers and not self.marker.exists():
                self.marker.touch()
                threading.Event().wait()
            yield small_batch(numbers)


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


class SlowStream:
    """Takes its time over each batch, so that there is one to be interrupted in."""

    def __call__(self, plan):
        for numbers in plan:
            time.sleep(1.0)
            yield small_batch(numbers)


@dataclass
class BrokenStream:
    """Delivers something else from a sample on: values that are not finite, or an error.

    Each worker that reads from it adds a line to the file `tries`.
    """

    sample: int
    error: Exception | None = None
    tries: Path | None = None

    def __call__(self, plan):
        if self.tries is not None:
            with self.tries.open("a") as file:
                file.write("once\n")
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
    one, two = read_checkpoint(one), read_checkpoint(two)
    assert one.samples == two.samples
    expected = everything(two)
    for name, tensor in everything(one).items():
        assert torch.equal(tensor, expected[name]), name


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
    assert [path.name[-2:] for path in list_checkpoints(result.checkpoint.parent)] == ["03", "04", "06"]
    rows = read_rows(result.metrics_path)
    for column, steps in (
        ("eval/loss", [3, 6]),
        ("evaluation_seconds", [3, 6]),
        ("checkpoint_seconds", [3, 5, 6]),
    ):
        assert [row["step"] for row in rows if column in row] == steps, column
    trained = read_checkpoint(result.checkpoint).tensors("master")
    for name, start in small_module().trainable_state().items():
        assert not torch.equal(trained[name], start), name


@pytest.mark.slow
def test_two_workers_train_what_one_with_twice_the_batch_trains(uninterrupted):
    one, two = (read_rows(uninterrupted(workers).metrics_path) for workers in (1, 2))
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)
    assert [row["samples"] for row in one] == [row["samples"] for row in two]


@pytest.mark.slow
def test_a_run_one_of_whose_two_workers_is_killed_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    marker = tmp_path / "killed"
    result = train(job(tmp_path / "run", workers=2), FatalStream(sample=4 * 3 + 3, marker=marker))
    assert marker.exists()
    assert_same_run(tmp_path / "run", uninterrupted(2).metrics_path.parent)
    assert result.step == STEPS


@pytest.mark.slow
def test_a_run_whose_driver_is_killed_goes_on_from_the_newest_good_checkpoint_and_ends_the_same(
    uninterrupted, tmp_path
):
    """The driver is a process of its own with a Ray of its own. What it wrote last is torn as well, which
    costs only the steps since the checkpoint before."""
    code = (
        "import ray, sys; from pathlib import Path\n"
        "ray.init('local', num_cpus=2, include_dashboard=False, object_store_memory=10**8,"
        " log_to_driver=False)\n"
        "from tests.training.run.test_loop import WaitingStream, job\n"
        "from training.run.loop import train\n"
        "folder = Path(sys.argv[1])\n"
        "print(train(job(folder), WaitingStream(4 * 4, folder / 'waited')).resumed_from)\n"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(run, cwd=ROOT, env=environment)
    while len(list_checkpoints(tmp_path / "checkpoints")) < 3 and driver.poll() is None:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    *_, before, newest = list_checkpoints(tmp_path / "checkpoints")
    with (newest / "shard-00000-of-00001.safetensors").open("r+b") as file:
        file.truncate(100)
    again = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert int(again.stdout.split()[-1]) == checkpoint_step(before) == 3
    assert_same_run(tmp_path, uninterrupted(1).metrics_path.parent)


def lose_a_node(folder: Path, then: str) -> None:
    """Run a job on a cluster of its own (lost_node.py) that loses one of two nodes in the third step."""
    run = [sys.executable, "-m", "tests.training.run.lost_node", str(folder), then]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=1000, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"nodes lost; the run ended at step {STEPS}" in done.stdout


@pytest.mark.slow
def test_a_run_one_of_whose_nodes_is_killed_and_replaced_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    lose_a_node(tmp_path, "back")
    assert_same_run(tmp_path, uninterrupted(2).metrics_path.parent)


@pytest.mark.slow
def test_an_elastic_run_one_of_whose_nodes_is_killed_goes_on_with_one_worker_and_says_so(
    uninterrupted, tmp_path
):
    lose_a_node(tmp_path, "gone")
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["workers"] for row in rows] == [2, 2, 1, 1, 1, 1]
    expected = [row["loss"] for row in read_rows(uninterrupted(2).metrics_path)]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-4)
    assert shrunk(rows, 2) == "From step 3 to step 6 only 1 of 2 workers could be had."


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_last_good_checkpoint(ray_cluster, tmp_path):
    with pytest.raises(Diverged, match=r"step 4: the loss is nan.*step-00000003"):
        train(job(tmp_path, workers=2), BrokenStream(sample=4 * 3))
    weights = read_checkpoint(newest_checkpoint(tmp_path / "checkpoints")).tensors("master")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (NoBatch("There is no such clip."), NoBatch, "no such clip"),
        (torch.OutOfMemoryError("CUDA out of memory"), TooLittleMemory, "smaller `train.memory_gb`"),
        (KeyError("latents"), Broken, r"(?s)Traceback.*raise self.error.*KeyError: 'latents'"),
    ],
    ids=["stream", "memory", "bug"],
)
def test_what_a_restart_does_not_help_against_is_told_at_once_and_not_tried_again(
    ray_cluster, tmp_path, error, kind, says
):
    tries = tmp_path / "tries"
    with pytest.raises(kind, match=says):
        train(job(tmp_path / "run", max_failures=5), BrokenStream(sample=4, error=error, tries=tries))
    assert tries.read_text() == "once\n"


@pytest.mark.slow
def test_a_look_that_fails_in_one_worker_is_told_in_the_row_and_training_goes_on(uninterrupted, tmp_path):
    asked = replace(job(tmp_path, workers=2), evaluate=Forgetful(), sample=full_disk)
    result = train(asked, SmallStream())
    assert result.step == STEPS
    rows = read_rows(result.metrics_path)
    assert [row["step"] for row in rows if "evaluation_failed" in row] == [3, 6]
    assert "CUDA out of memory" in rows[2]["evaluation_failed"]
    assert "No space left" in rows[2]["sampling_failed"]
    plain = read_checkpoint(newest_checkpoint(uninterrupted(2).metrics_path.parent / "checkpoints"))
    found = everything(read_checkpoint(result.checkpoint))
    assert all(torch.equal(found[name], tensor) for name, tensor in everything(plain).items())


@pytest.mark.slow
def test_a_run_whose_look_kills_the_worker_goes_on_after_the_look(uninterrupted, tmp_path):
    """It has saved first: no step is done again, and no look uses up the restarts."""
    asked = replace(job(tmp_path / "run", checkpoint_every=100, max_failures=1), sample=killed)
    result = train(asked, NotedStream(tmp_path / "starts"))
    assert result.step == STEPS
    assert [row["step"] for row in read_rows(result.metrics_path)] == list(range(1, STEPS + 1))
    assert (tmp_path / "starts").read_text().split() == ["0", str(4 * 3)]


def two_at_once(folder: Path) -> str:
    """Start the same run in another process while this one holds it."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.training.run.test_loop import SmallStream, job\n"
        "from training.errors import TrainingError\n"
        "from training.run.loop import train\n"
        "try: train(job(Path(sys.argv[1])), SmallStream())\n"
        "except TrainingError as error: print(error)\n"
    )
    run = [sys.executable, "-c", code, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_second_train_of_a_run_is_told_who_trains_it_and_stops(tmp_path):
    with RunFolder(tmp_path, "first").held():
        said = two_at_once(tmp_path)
    assert f"is being trained by process {os.getpid()} on" in said
    assert not (tmp_path / "ray").exists()
    with RunFolder(tmp_path, "second").held():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_what_it_did_and_says_what_is_done_again(uninterrupted, tmp_path, sent):
    code = (
        "import logging, ray, signal, sys; from pathlib import Path\n"
        "ray.init('local', num_cpus=2, include_dashboard=False, object_store_memory=10**8,"
        " log_to_driver=False)\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"  # Ray has put its own there
        "from tests.training.run.test_loop import SlowStream, job\n"
        "from training.run.loop import train\n"
        "try: train(job(Path(sys.argv[1]), checkpoint_every=100, evaluate_every=None), SlowStream())\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", code, str(tmp_path)]
    driver = subprocess.Popen(
        run, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(read_rows(tmp_path / "metrics.jsonl")) < 2 and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(sent)
    out, said = driver.communicate()
    assert "interrupted" in out
    step = checkpoint_step(newest_checkpoint(tmp_path / "checkpoints"))
    assert step == len(read_rows(tmp_path / "metrics.jsonl")) >= 2
    assert f"Step {step} is saved" in said
    assert "nothing will be done again" in said


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(uninterrupted):
    folder = uninterrupted(1).metrics_path.parent
    result = train(job(folder), SmallStream())
    assert (result.step, result.resumed_from) == (STEPS, STEPS)


def test_a_folder_with_another_models_run_is_refused_before_any_worker_starts(tmp_path):
    from tests.training.run.test_checkpoint import write

    write(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="belongs to another model"):
        train(job(tmp_path), SmallStream())


@pytest.mark.parametrize("name", ["zero_stage", "activation_checkpointing"])
def test_auto_that_nobody_settled_is_refused_before_any_worker_starts(tmp_path, name):
    with pytest.raises(TrainingError, match=f"`{name}` is auto"):
        train(job(tmp_path, **{name: "auto"}), SmallStream())
    assert not (tmp_path / "ray").exists()
