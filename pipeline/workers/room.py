"""Whether a cluster has the memory that a worker asks for; Ray itself waits for it for ever."""

import threading
import time
from collections.abc import Callable

import ray

from pipeline.errors import PipelineError

# A run without a result for so many seconds says why.
_PATIENCE = 30.0


class NoRoom(PipelineError):
    """No machine of the cluster can ever run one worker."""


def require_memory(memory: int, setting: str) -> None:
    """Refuse work whose workers no machine could hold.

    Args:
        memory: bytes that one worker asks for.
        setting: the setting, in MB, that asks for less.

    Raises:
        NoRoom: the largest machine has less.
    """
    machines = [node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]]
    most = max(machines, default=0)
    if most < memory:
        raise NoRoom(
            f"A worker asks for {_mb(memory)} MB of memory, and the largest machine has {_mb(most)} MB for "
            f"Ray. Free some, or ask for less with `--set {setting}={max(64, _mb(most) * 9 // 10)}`; files "
            "that need more are then quarantined."
        )


def require_devices(cpus: float, gpus: float, setting: str) -> None:
    """Refuse work whose workers no machine could ever run, be it one that an autoscaler would add.

    Args:
        cpus, gpus: what one worker occupies.
        setting: the section of the profile that asks for it.

    Raises:
        NoRoom: none has them.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    added = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    for kind, asked, field in (("GPU", gpus, "gpus_per_actor"), ("CPU", cpus, "cpus_per_actor")):
        most = max([*(each.get(kind, 0) for each in machines), added.get(kind, 0)], default=0)
        if asked > most:
            instead = "" if most else ", which works on processors" * (kind == "GPU")
            raise NoRoom(
                f"{setting}.{field} asks for {asked:g} {kind} a worker, and no machine of the cluster has "
                f"more than {most:g}. Add one that has, or `--set {setting}.{field}={most:g}`{instead}."
            )


def require_processors(workers: int, cpus: float, beside: float) -> None:
    """Refuse training whose workers leave no processor to the tasks that feed them: both would wait for ever.

    Args:
        workers: how many there are.
        cpus: what one occupies.
        beside: what a task that feeds it occupies.

    Raises:
        NoRoom: with what each worker may have at most.
    """
    there = sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    there = max(there, (ray._private.state.state.get_max_resources_from_cluster_config() or {}).get("CPU", 0))
    if there < workers * cpus + beside:
        most = int(100 * (there - beside) / workers) / 100
        raise NoRoom(
            f"{workers} workers with train.worker_cpus={cpus:g} take all of the cluster's {there:g} "
            "processors, and the tasks that read their clips need a part of one; "
            f"`--set train.worker_cpus={max(most, 0.01):g}`."
        )


class WaitingWatch:
    """Tells of a run that has had no result for a while what it waits for; a context manager.

    Args:
        memory: bytes that one worker asks for.
        tell: called with a sentence, from another thread, again and again while nothing comes.
    """

    def __init__(self, memory: int, tell: Callable[[str], None], patience: float = _PATIENCE) -> None:
        self._memory, self._tell, self._patience = memory, tell, patience
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "WaitingWatch":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def came(self) -> None:
        """A result is there."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(self._patience / 10):
            waited = time.monotonic() - self._last
            if waited >= self._patience:
                self._tell(self._reason(waited))
                self._last += self._patience

    def _reason(self, waited: float) -> str:
        free = ray.available_resources()
        if free.get("memory", 0) < self._memory:
            needed = f"{_mb(self._memory)} MB of memory, {_mb(free.get('memory', 0))} are free"
            return f"for {waited:.0f} s on {needed}"
        if free.get("CPU", 0) < 1:
            return f"for {waited:.0f} s on a processor, or on a large file"
        return f"for {waited:.0f} s on its workers"


def _mb(size: float) -> int:
    return int(size) // 1024**2
