"""One command's run: its workspace, its Ray session, its steps and its report."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from catalog.acts import settle
from catalog.vocabulary import RunStatus
from jobs.console import StepProgress, out, step
from jobs.log import bind, tell
from jobs.peak_memory import ClusterWatch, MemoryWatch
from jobs.ray_session import joins, ray_session
from jobs.runs import close_forgotten, process_seconds, this_process
from jobs.workspace import Workspace, code_revision, write_json
from pipeline.gauges import tell_catalogue
from training.objects import Faltered


class Job:
    """What every command does around its own work: times its steps, watches memory, records the run, reports.

    Use as a context manager. `report` is written to `<workdir>/reports/<command>.json` on the way out, also
    when the body failed or was interrupted, and a row goes into the catalogue's `runs`.
    """

    def __init__(
        self,
        command: str,
        workspace: Workspace,
        address: str | None = None,
        ray: bool = True,
        reads: Sequence[str] = (),
        writes: Sequence[Path] = (),
    ) -> None:
        """Args:
        reads: where the command's inputs lie, if it has any; every machine of a cluster is asked for them.
        writes: folders that workers write to; every machine of a cluster has to share them.
        """
        self.command = command
        self.workspace = workspace
        self.run_id = f"{command}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
        self.report: dict[str, Any] = {
            "command": command,
            "run_id": self.run_id,
            "counts": {},
            "stood": {},
            "steps": [],
        }
        self._address = address
        self._reads, self._writes = reads, writes
        self._needs_ray, self._has_ray = ray, False
        self._cluster: ClusterWatch | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Job":
        self._started = datetime.now(UTC)
        self.memory = self._stack.enter_context(MemoryWatch())
        self.workspace.remember_profile()
        self.catalog = self.workspace.catalog
        # An act that a crash left half done is completed before anything reads what it changes.
        settle(self.catalog)
        for run_id in close_forgotten(self.catalog):
            say(f"  {run_id} was killed before it ended; it counts as interrupted")
        self.report["versions"] = {"read": self.catalog.versions()}
        self._record(RunStatus.RUNNING)
        bind(run=self.run_id)
        tell("run began", workdir=self.workspace.root, catalog=self.workspace.catalog_uri)
        try:
            if self._needs_ray:
                self.start_workers()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def start_workers(self) -> None:
        """Start Ray or join the cluster, where that has not been done: a job may find that it needs none."""
        if not self._has_ray:
            self._stack.enter_context(ray_session(self._address))
            self._has_ray = True
            tell_catalogue(self.catalog)
            if joins(self._address):
                from jobs.needs import require_cluster

                require_cluster(self.command, self.workspace, self._reads, self._writes)
                self._cluster = ClusterWatch()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        stopped = RunStatus.INTERRUPTED if kind is KeyboardInterrupt else RunStatus.FAILED
        status = RunStatus.FINISHED if error is None else stopped
        self.report["status"] = status
        self.measure()
        tell(
            "run ended",
            "error" if status == RunStatus.FAILED else "info",
            status=status,
            seconds=self.report["seconds"],
            peak_rss_mb=self.report["peak_rss_mb"],
            counts=self.report["counts"],
        )
        if self._has_ray:
            tell_catalogue(self.catalog)
        try:
            # Before Ray is shut down, which takes seconds: a person who waits no longer loses none of it.
            self._record(status)
            self.workspace.remember_profile(succeeded=error is None)
            self.report["versions"]["written"] = self.catalog.versions()
            write_json(self.workspace.root / "reports" / f"{self.command}.json", self.report)
            self.workspace.keep()
        finally:
            self._stack.close()

    def measure(self) -> None:
        """Put into the report what the job has taken until now."""
        # A cluster's workers are no children of this process, and their nodes are shared with others.
        nodes = self._cluster.peaks_mb() if self._cluster else {}
        self.report["peak_rss_mb"] = round(self.memory.peak_mb + sum(nodes.values()))
        self.report["memory_of"] = (
            f"this process and its workers on {len(nodes)} nodes" if nodes else "all processes"
        )
        self.report["peak_rss_mb_by_node"] = {name: round(peak) for name, peak in nodes.items()}
        self.report["seconds"] = round(process_seconds(), 1)

    @contextmanager
    def step(self, name: str) -> Iterator[StepProgress]:
        """Time one step and show its progress; the last number done is its `items` in the report."""
        begin = time.perf_counter()
        tell("step began", step=name)
        with step(name) as progress:
            yield progress
        if self._cluster:
            self._cluster.look()
        seconds = time.perf_counter() - begin
        # What falters here is tried again by a later step, and at the end for good.
        with suppress(Faltered):
            self.workspace.keep()
        done = {"seconds": round(seconds, 2), "items": progress.items}
        self.report["steps"].append({"name": name, **done})
        tell("step ended", step=name, **done)

    def _record(self, status: RunStatus) -> None:
        ended = {} if status == RunStatus.RUNNING else {"finished_at": datetime.now(UTC)}
        row = {
            "run_id": self.run_id,
            "kind": self.command,
            "status": status,
            "started_at": self._started,
            "config": self.workspace.profile.model_dump_json(),
            "code_revision": code_revision(),
            "snapshot": self.report["versions"]["read"],
            "metrics": {
                "counts": self.report["counts"],
                "steps": self.report["steps"],
                "process": this_process(),
            },
        }
        self.catalog.upsert("runs", [row | ended])


def say(text: str) -> None:
    """Print one line of a job's summary."""
    out.print(text, markup=False)
