"""The loop with real Ray Train workers, real DeepSpeed engines and the real method, very small.

How it goes on after a loss is in test_lost_workers.py, how after its driver's end in test_ended_drivers.py.
What no method has a part in is tried on a toy, whose workers start sooner.
"""

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.run.saved import everything
from tests.training.run.small_run import STEPS, HeldOut, job
from tests.training.run.toy import BrokenStream, toy_job
from tests.training.small import SmallStream, small_module
from training.errors import NoBatch, TooLittleMemory, TrainingError
from training.run.checkpoint import CheckpointError, list_checkpoints, newest_checkpoint, read_checkpoint
from training.run.folder import Broken, Diverged, FolderUnseen, RunFolder
from training.run.loop import train
from training.run.watch import read_rows
from training.run.worker import final


class Forgetful(HeldOut):
    """An evaluation that runs out of memory in the last worker."""

    def measure(self, module: nn.Module, worker: int, workers: int) -> float:
        if worker == workers - 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().measure(module, worker, workers)


def full_disk(module: nn.Module, folder: Path, worker: int, workers: int, together: bool) -> None:
    """Samples for which there is no room."""
    raise OSError(errno.ENOSPC, "No space left on device")


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
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_last_good_checkpoint(ray_cluster, tmp_path):
    with pytest.raises(Diverged, match=r"step 4: the loss is nan.*step-00000002"):
        train(toy_job(tmp_path, workers=2), BrokenStream(sample=4 * 3))
    weights = read_checkpoint(newest_checkpoint(tmp_path / "checkpoints")).tensors("master")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.slow
def test_what_a_restart_does_not_help_against_is_told_at_once_and_not_tried_again(ray_cluster, tmp_path):
    tries, error = tmp_path / "tries", KeyError("latents")
    with pytest.raises(Broken, match=r"(?s)Traceback.*raise self.error.*KeyError: 'latents'"):
        train(toy_job(tmp_path / "run", max_failures=5), BrokenStream(sample=4, error=error, tries=tries))
    assert tries.read_text() == "once\n"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (NoBatch("There is no such clip."), NoBatch, "no such clip"),
        (torch.OutOfMemoryError("CUDA out of memory"), TooLittleMemory, "smaller `train.memory_gb`"),
        (OSError(errno.ENOSPC, "No space left on device"), TrainingError, "disk is full .* Make room"),
    ],
    ids=["stream", "memory", "disk"],
)
def test_what_a_person_has_to_put_right_is_told_in_a_sentence(tmp_path, error, kind, says):
    folder = RunFolder(tmp_path, "first")
    folder.stop(final(error))
    assert isinstance(folder.stopped(), kind) and re.search(says, str(folder.stopped()))


def test_a_worker_on_a_machine_without_the_runs_folder_says_so(tmp_path):
    with RunFolder(tmp_path, "first").held():
        RunFolder(tmp_path, "first").require_seen()
        with pytest.raises(
            FolderUnseen, match=f"does not see {tmp_path / 'other'}; put it on storage that all"
        ):
            RunFolder(tmp_path / "other", "first").require_seen()


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
