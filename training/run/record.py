"""What a worker writes of a run: its share of each checkpoint, and, the first one, the rows."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from training.copied import Copied
from training.metrics import tell_row
from training.run.bucket import OWN
from training.run.checkpoint import Shard
from training.run.checkpoint_writer import CheckpointWriter, Facts
from training.run.folder import RunFolder
from training.run.job import TrainJob
from training.run.team import Team
from training.run.trackers import open_trackers
from training.run.watch import RunLog

# Between two copies of the rows to a bucket, for whoever follows the run.
COPY_SECONDS = 10.0


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
        self._log: RunLog | None = None
        self._copied: Copied | None = None
        self._next_copy = 0.0
        if team.rank == 0:
            if folder.bucket is not None:
                folder.bucket.forget_after(step)
                folder.bucket.fetch_files(folder.path)
                self._copied = Copied(folder.path, folder.bucket.uri, OWN)
            trackers = open_trackers(settings.trackers, folder, job.run_id, step, self._config)
            self._log = RunLog(folder, step, trackers, partial(folder.check_owner, token))
        self._writer = CheckpointWriter(
            folder.checkpoints,
            settings.keep_last,
            settings.keep_every,
            partial(folder.check_writer, token),
            team,
            token,
            folder.bucket,
        )

    def write(self, row: dict[str, float]) -> None:
        """Append a row."""
        if self._log is not None:
            self._log.write(row)
            tell_row(self._run_id, row)
            if time.monotonic() > self._next_copy:
                self._copy()

    def add(self, columns: dict[str, float | str], videos: Sequence[Path] = ()) -> None:
        """Add columns to the newest row, and show videos with it."""
        if self._log is not None:
            self._log.add(columns, videos)
            tell_row(self._run_id, columns)
            self._copy()

    def save(self, shard: Shard, samples: int) -> None:
        """Begin to write a checkpoint; the rows up to it are on disk first."""
        if self._log is not None:
            self._log.flush()
        self._copy()
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
        self._copy()

    def _copy(self) -> None:
        """Have in the bucket, where the run has one, what this worker has written besides checkpoints."""
        if self._copied is not None:
            self._copied.put()
            self._next_copy = time.monotonic() + COPY_SECONDS
