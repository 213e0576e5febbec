"""What a worker writes of a run: its share of each checkpoint, and, the first one, the rows."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from training.metrics import tell_row
from training.run.checkpoint import Shard
from training.run.checkpoint_writer import CheckpointWriter, Facts
from training.run.folder import RunFolder
from training.run.job import TrainJob
from training.run.team import Team
from training.run.trackers import open_trackers
from training.run.watch import RunLog


class Record:
    """The log and the checkpoints of one run; every worker opens one.

    Opening it claims the folder for these workers and cuts the rows after `step`.

    Args:
        job: what is trained.
        folder: of the run.
        step: optimizer steps done before.
    """

    def __init__(self, job: TrainJob, folder: RunFolder, step: int):
        settings = job.settings
        self._run_id = job.run_id
        self._identity = job.identity
        self._config = job.config | {"train": settings.model_dump(mode="json")}
        team = Team()
        token = team.gather(folder.claim() if team.rank == 0 else "")[0]
        allowed = partial(folder.check_owner, token)
        self._log: RunLog | None = None
        if team.rank == 0:
            trackers = open_trackers(settings.trackers, folder, job.run_id, step, self._config)
            self._log = RunLog(folder, step, trackers, allowed)
        self._writer = CheckpointWriter(
            folder.checkpoints, settings.keep_last, settings.keep_every, allowed, team, token
        )

    def write(self, row: dict[str, float]) -> None:
        """Append a row."""
        if self._log is not None:
            self._log.write(row)
            tell_row(self._run_id, row)

    def add(self, columns: dict[str, float | str], videos: Sequence[Path] = ()) -> None:
        """Add columns to the newest row, and show videos with it."""
        if self._log is not None:
            self._log.add(columns, videos)
            tell_row(self._run_id, columns)

    def save(self, shard: Shard, samples: int) -> None:
        """Begin to write a checkpoint; the rows up to it are on disk first."""
        if self._log is not None:
            self._log.flush()
        self._writer.save(shard, Facts(samples, self._identity, self._config))

    def wait(self) -> None:
        """Return when the checkpoint that was begun is on disk."""
        self._writer.wait()

    def check(self) -> None:
        """Raise what writing a checkpoint in the background has raised since."""
        self._writer.check()

    def close(self) -> None:
        """Everything is on disk when this returns."""
        if self._log is not None:
            self._log.close()
        self._writer.wait()
