"""A run of the small method through the loop: its job, its streams, and what makes two runs equal."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tests.training.run.saved import everything
from tests.training.small import small_batch, small_module
from training.run.checkpoint import newest_checkpoint, read_checkpoint
from training.run.job import TrainJob
from training.run.settings import TrainSettings
from training.run.watch import TIMING_COLUMNS, read_rows

STEPS = 6


def job(folder: Path, workers: int | tuple[int, int] = 1, **changes) -> TrainJob:
    """Six steps of four samples each, however many workers there are."""
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


def die() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Come to nothing: time to be killed in."""
    threading.Event().wait()


@dataclass
class StruckStream:
    """Something befalls the worker that asks for a sample, once: the marker file remembers."""

    sample: int
    marker: Path
    blow: Callable[[], None]

    def __call__(self, plan):
        for numbers in plan:
            if self.sample in numbers and not self.marker.exists():
                self.marker.touch()
                self.blow()
            yield small_batch(numbers)


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
