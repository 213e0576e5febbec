"""What a run tells while it trains: rows of metrics.jsonl, the same to its trackers, and when to stop."""

import json
import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from training.files import write_atomically
from training.run.folder import Diverged, RunFolder
from training.run.trackers import Tracker

# What differs between two runs of the same steps; every other column is a function of the run alone.
TIMING_COLUMNS = frozenset(
    {
        "time",
        "step_seconds",
        "samples_per_second",
        "data_wait",
        "evaluation_seconds",
        "sampling_seconds",
        "checkpoint_seconds",
        "memory_mb",
        "mfu",
        "workers",
    }
)


# Under which heading a tracker shows a column; what is not here keeps its own, or is about learning.
HEADINGS = {
    "grad_norm": "grad_norm/all",
    "adapter_norm": "adapter/norm",
    "adapter_up_norm": "adapter/up_norm",
    "adapter_down_norm": "adapter/down_norm",
    # Counts that never change would push the curves of eval/ onto a second page.
    "eval/pairs_seen": "held_out/pairs_seen",
    "eval/pairs_unseen": "held_out/pairs_unseen",
    **{name: f"speed/{name}" for name in TIMING_COLUMNS},
}


def heading(name: str) -> str:
    """What a tracker calls a column."""
    if name.startswith("eval/gap_of/"):
        return name.replace("eval/gap_of", "gap_of_category")  # a page of their own, of hundreds
    return HEADINGS.get(name, name if "/" in name else f"train/{name}")


class RunLog:
    """Writes the rows of one run; rows after `step` are removed, for the run goes on from there.

    Args:
        folder: of the run.
        step: optimizer steps done before.
        trackers: get the same numbers; closed with the log.
        allowed: called before each write; may raise to say that this run lost its folder.
    """

    def __init__(
        self,
        folder: RunFolder,
        step: int,
        trackers: Sequence[Tracker] = (),
        allowed: Callable[[], None] = lambda: None,
    ):
        kept = [row for row in read_rows(folder.metrics) if row["step"] <= step]
        write_atomically(folder.metrics, "".join(json.dumps(row) + "\n" for row in kept))
        self._allowed = allowed
        self._file = folder.metrics.open("a", buffering=1)
        self._trackers = trackers
        self._newest: tuple[int, dict] = (self._file.tell(), {})

    def write(self, row: dict[str, float]) -> None:
        """Append one row; `row["step"]` counts the optimizer steps done."""
        self._allowed()
        self._newest = (self._file.tell(), dict(row))
        self._file.write(json.dumps(row) + "\n")
        self._track(row)

    def add(self, columns: dict[str, float | str], videos: Sequence[Path] = ()) -> None:
        """Add columns to the newest row, what was seen after its step: figures, the reason why there are
        none (a text, which trackers do not get), seconds on top of the row's own. Trackers show the videos.
        """
        self._allowed()
        at, row = self._newest
        for name, value in columns.items():
            row[name] = row.get(name, 0) + value if name.endswith("_seconds") else value
        self._file.truncate(at)
        self._file.write(json.dumps(row) + "\n")
        self._track({"step": row["step"], **columns})
        if videos:
            self.show(videos, row["step"])

    def show(self, videos: Sequence[Path], step: int) -> None:
        """Have the trackers show videos that were made after `step` steps, each under its name."""
        self._allowed()
        for tracker in self._trackers:
            tracker.show(videos, step)

    def _track(self, row: dict[str, float | str]) -> None:
        values = {
            heading(name): value
            for name, value in row.items()
            if name not in ("step", "time") and not isinstance(value, str)
        }
        for tracker in self._trackers:
            tracker.write(values, row["step"])

    def flush(self) -> None:
        """Everything written so far is on disk when this returns."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.flush()
        self._file.close()
        for tracker in self._trackers:
            tracker.close()


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.jsonl, oldest first; a line that a killed process left unfinished is dropped."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def last_row(path: Path) -> dict[str, float] | None:
    """The newest row, read from the end of the file."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        return last_of(file.read().decode())


def last_of(text: str) -> dict[str, float] | None:
    """The newest row of a file's end."""
    lines = text.split("\n")
    complete = [line for line in lines[:-1] if line.startswith("{") and line.endswith("}")]
    return json.loads(complete[-1]) if complete else None


class StepClock:
    """Seconds of the steps since the last row, the part that waited for data, and what was done between.

    Args:
        samples_per_step: over all workers.
        useful: seconds that a step would take at the peak of all devices; None where that is unknown.
    """

    def __init__(self, samples_per_step: int, useful: float | None = None):
        self._samples_per_step, self._useful = samples_per_step, useful
        self._start()

    def _start(self) -> None:
        self._begin = time.perf_counter()
        self._waited, self._steps = 0.0, 0
        self._apart: dict[str, float] = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time inside counts as waiting for data."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Time inside belongs to no step; the row tells its sum as `<name>_seconds`."""
        begin = time.perf_counter()
        yield
        self._apart[name] = self._apart.get(name, 0.0) + time.perf_counter() - begin

    def step(self) -> None:
        self._steps += 1

    def columns(self) -> dict[str, float]:
        """The timing columns of a row; starts anew."""
        elapsed = max(time.perf_counter() - self._begin - sum(self._apart.values()), 1e-9)
        columns = {
            "time": time.time(),
            "step_seconds": elapsed / self._steps,
            "samples_per_second": self._samples_per_step * self._steps / elapsed,
            "data_wait": self._waited / elapsed,
            "memory_mb": peak_memory_mb(),
        }
        if self._useful is not None:
            columns["mfu"] = self._useful * self._steps / elapsed
        return columns | self.between()

    def between(self) -> dict[str, float]:
        """Columns of what was done since the last row that belongs to no step; starts anew."""
        columns = {f"{name}_seconds": seconds for name, seconds in self._apart.items()}
        self._start()
        return columns


def peak_memory_mb() -> float:
    """Peak memory of this process in MB: the GPU's where there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def divergence(loss: float, grad_norm: float, limit: float) -> str | None:
    """Why a run cannot recover from a step, or None: values that are not finite, or a norm above `limit`."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(grad_norm):
        return f"the gradient norm is {grad_norm}"
    if grad_norm > limit:
        return f"the gradient norm {grad_norm:.4g} exceeds max_grad_norm={limit:g}"
    return None


def diverged(step: int, why: str, last_good: Path | str | None) -> Diverged:
    """The sentence for a person: what happened, and what to go on from."""
    good = f"The last good checkpoint is {last_good}" if last_good else "No checkpoint was written before"
    return Diverged(f"Training stopped at step {step}: {why}. {good}; go on with a lower `lr`.")


def shrunk(rows: Sequence[dict], workers: int) -> str | None:
    """The sentence that tells of steps taken with fewer than `workers`, or None where there were none."""
    fewer = [row for row in rows if row["workers"] < workers]
    if not fewer:
        return None
    least = min(row["workers"] for row in fewer)
    steps = f"From step {fewer[0]['step']} to step {fewer[-1]['step']}"
    return f"{steps} only {least} of {workers} workers could be had."


# Half seconds.
AFAR_LOOKS = 10


class Follow:
    """Tells `progress` about new rows of a metrics file while the block runs.

    Args:
        metrics: the file, which may not exist yet.
        total: steps in all.
        progress: called with (steps done, total, last row); None follows nothing.
        afar: the newest row of a copy of the file, asked now and then where the file does not change.
    """

    def __init__(
        self,
        metrics: Path,
        total: int,
        progress: Callable[[int, int | None, dict], None] | None,
        afar: Callable[[], dict | None] | None = None,
    ):
        self._metrics, self._total, self._progress, self._afar = metrics, total, progress, afar
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> None:
        if self._progress is not None:
            self._thread.start()

    def __exit__(self, *_) -> None:
        self._ended.set()
        if self._progress is not None:
            self._thread.join()

    def _run(self) -> None:
        told, unchanged = None, 0
        while True:
            ended = self._ended.wait(0.5)
            row = last_row(self._metrics)
            unchanged = 0 if row is not None and row["step"] != told else unchanged + 1
            if self._afar is not None and unchanged >= AFAR_LOOKS:
                row, unchanged = self._afar() or row, 0
            if row is not None and row["step"] != told:
                told = row["step"]
                self._progress(told, self._total, row)
            if ended:
                return
