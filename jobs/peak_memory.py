"""Peak memory of a job: this process, everything it started, and its workers on the nodes of a cluster."""

import threading
from collections.abc import Callable, Iterable
from functools import partial

import psutil

from jobs.reaper import marked

MB = 2**20


class MemoryWatch:
    """Samples the memory of the process tree every two seconds; `peak_mb` is the largest seen.

    Counted are the private pages of every process and, once, the shared pages of the process that maps most
    of them: Ray's workers share one object store, and summing resident sizes would count it for each. (The
    kernel's proportional sizes say it exactly, but reading them walks every page: a tenth of a core.)
    """

    def __init__(self, interval: float = 2.0, measure: Callable[[], float] | None = None) -> None:
        """Args:
        measure: MB now of what is watched; this process's tree by default.
        """
        self.peak_mb = 0.0
        self._interval = interval
        self._measure = measure or partial(tree_mb, psutil.Process())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory-watch")

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self._measure())
            if self._stop.wait(self._interval):
                return


class NodeWatch:
    """Actor on one node: the peak memory, MB, of the workers there that belong to one job of Ray."""

    def __init__(self, job_id: str, interval: float) -> None:
        # Ray tells a worker in its environment which job it works for.
        mark = f"RAY_JOB_ID={job_id}"
        self._watch = MemoryWatch(interval, lambda: total_mb(map(_process, marked(mark)))).__enter__()

    def peak_mb(self) -> float:
        return self._watch.peak_mb


class ClusterWatch:
    """A `NodeWatch` on every node of the cluster that this process has joined."""

    def __init__(self, interval: float = 2.0) -> None:
        self._interval = interval
        self._watches: dict[str, object] = {}
        self.look()

    def look(self) -> None:
        """Watch the nodes that have come since the last time."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        job_id = ray.get_runtime_context().get_job_id()
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in self._watches:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                actor = ray.remote(NodeWatch).options(num_cpus=0, scheduling_strategy=there)
                self._watches[node["NodeID"]] = actor.remote(job_id, self._interval)

    def peaks_mb(self, patience: float = 10.0) -> dict[str, float]:
        """Peak by the node's name; a node that does not answer within `patience` seconds is left out."""
        import ray

        asked = {key: watch.peak_mb.remote() for key, watch in self._watches.items()}
        answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=patience)
        names = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
        peaks: dict[str, float] = {}
        for key, answer in asked.items():
            if answer in answered:
                try:
                    peak = ray.get(answer)
                except ray.exceptions.RayActorError:
                    continue  # its node is gone
                peaks[names.get(key, key)] = peaks.get(names.get(key, key), 0.0) + peak
        return peaks


def tree_mb(root: psutil.Process) -> float:
    """Memory of a process and all its descendants now, MB."""
    return total_mb([root, *root.children(recursive=True)])


def total_mb(processes: Iterable[psutil.Process | None]) -> float:
    """Memory of processes now, MB, what they share counted once; None stands for one that has ended."""
    private, shared = 0, 0
    for process in processes:
        if process is None:
            continue
        try:
            info = process.memory_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended between being listed and being read
        private += info.rss - info.shared
        shared = max(shared, info.shared)
    return (private + shared) / MB


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
