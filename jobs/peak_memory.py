"""Peak memory of a job: this process and everything it started, Ray's workers included."""

import threading

import psutil

MB = 2**20


class MemoryWatch:
    """Samples the memory of the process tree every two seconds; `peak_mb` is the largest seen.

    Counted are the private pages of every process and, once, the shared pages of the process that maps most
    of them: Ray's workers share one object store, and summing resident sizes would count it for each. (The
    kernel's proportional sizes say it exactly, but reading them walks every page: a tenth of a core.)
    """

    def __init__(self, interval: float = 2.0) -> None:
        self.peak_mb = 0.0
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory-watch")

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        root = psutil.Process()
        while True:
            self.peak_mb = max(self.peak_mb, tree_mb(root))
            if self._stop.wait(self._interval):
                return


def tree_mb(root: psutil.Process) -> float:
    """Memory of a process and all its descendants now, MB."""
    private, shared = 0, 0
    for process in [root, *root.children(recursive=True)]:
        try:
            info = process.memory_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended between being listed and being read
        private += info.rss - info.shared
        shared = max(shared, info.shared)
    return (private + shared) / MB
