"""Every metric that Ray's exporter shows of this project: its name, its kind, its help, its tags.

They are told where the work is done. Ray gathers them from every process of a cluster about every ten
seconds and shows them to Prometheus on each node's metrics port, as `Metric.exported` says it. It forgets a
gauge with each gathering, and what nobody repeats is gone after twenty seconds: here the last value is
repeated for as long as its process lives. In a process without Ray telling does nothing.
"""

import math
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A number that the exporter shows, once for every value of its tags."""

    name: str
    help: str
    tags: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.name}"


class Counter(Metric):
    """Only grows; Prometheus makes a rate of it."""

    @property
    def exported(self) -> str:
        return f"{super().exported}_total"

    def add(self, count: float, **tags: str) -> None:
        if count > 0 and _exports():
            _made(self).inc(count, tags)


class Gauge(Metric):
    """Stands for itself, now."""

    def set(self, value: float, **tags: str) -> None:
        if math.isfinite(value) and _exports():
            _keeper().keep(self, value, tags)


CLIPS = Counter("video2lora_clips", "Clips that a stage has made", ("stage",))
FAILURES = Counter("video2lora_failures", "What a stage could not use, by reason", ("stage", "reason"))
QUEUE = Gauge("video2lora_queue_length", "What waits for a stage", ("stage",))

STEP = Gauge("video2lora_training_step", "Optimizer steps done", ("run",))
SAMPLES = Gauge("video2lora_training_samples", "Samples seen", ("run",))
LOSS = Gauge("video2lora_training_loss", "Training loss", ("run",))
GRAD_NORM = Gauge("video2lora_training_grad_norm", "Norm of the gradient before it is clipped", ("run",))
LEARNING_RATE = Gauge("video2lora_training_learning_rate", "Learning rate", ("run",))
STEP_SECONDS = Gauge("video2lora_training_step_seconds", "Seconds of a step", ("run",))
THROUGHPUT = Gauge("video2lora_training_samples_per_second", "Samples a second, all workers", ("run",))
DATA_WAIT = Gauge("video2lora_training_data_wait_ratio", "Share of a step that waits for data, 0-1", ("run",))
WORKERS = Gauge("video2lora_training_workers", "Workers that train", ("run",))
MEMORY = Gauge("video2lora_training_memory_megabytes", "Peak memory of the first worker's device", ("run",))
GAP_SEEN = Gauge("video2lora_training_gap_seen_ratio", "Transfer gap, categories that train", ("run",))
GAP_UNSEEN = Gauge("video2lora_training_gap_unseen_ratio", "Transfer gap, categories held out", ("run",))

MODEL_MADE = Gauge("video2lora_model_made_seconds", "When a model was made, Unix time", ("role",))

LEASE = Gauge("video2lora_lease_expires_seconds", "When a lease lapses, Unix time", ("lease", "holder"))

# Columns of a run's rows (metrics.jsonl) that are shown.
_OF_ROWS: dict[str, Gauge] = {
    "step": STEP,
    "samples": SAMPLES,
    "loss": LOSS,
    "grad_norm": GRAD_NORM,
    "lr": LEARNING_RATE,
    "step_seconds": STEP_SECONDS,
    "samples_per_second": THROUGHPUT,
    "data_wait": DATA_WAIT,
    "workers": WORKERS,
    "memory_mb": MEMORY,
    "eval/gap_seen": GAP_SEEN,
    "eval/gap_unseen": GAP_UNSEEN,
}


def tell_row(run: str, row: Mapping[str, float | str]) -> None:
    """Show the columns of one row of a training run that are metrics."""
    for column, gauge in _OF_ROWS.items():
        if isinstance(value := row.get(column), int | float):
            gauge.set(value, run=run)


def known() -> tuple[Metric, ...]:
    """All of them."""
    return tuple(each for each in globals().values() if isinstance(each, Metric))


class _Keeper:
    """Repeats what gauges were last told, in a thread."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[tuple[Gauge, frozenset[tuple[str, str]]], float] = {}
        threading.Thread(target=self._repeat, daemon=True, name="gauges").start()

    def keep(self, gauge: Gauge, value: float, tags: dict[str, str]) -> None:
        _made(gauge).set(value, tags)
        with self._lock:
            self._told[gauge, frozenset(tags.items())] = value

    def _repeat(self) -> None:
        pause = threading.Event()
        while not pause.wait(self.SECONDS):
            with self._lock:
                if not _exports():
                    self._told.clear()  # of a Ray that is no more
                for (gauge, tags), value in self._told.items():
                    _made(gauge).set(value, dict(tags))


@cache
def _keeper() -> _Keeper:
    return _Keeper()


def _exports() -> bool:
    # Asked, not imported: a command that needs no Ray does not load it for this.
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@cache
def _made(metric: Metric) -> Any:
    """Ray's own object; it outlives a Ray that is shut down and shows in the next one."""
    from ray.util import metrics

    kind = metrics.Counter if isinstance(metric, Counter) else metrics.Gauge
    return kind(metric.name, metric.help, metric.tags)
