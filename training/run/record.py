"""What the first worker of a run writes: rows and checkpoints."""

from functools import partial

import torch

from training.run.checkpoint import Checkpoint, CheckpointWriter, OptimizerState
from training.run.folder import RunFolder
from training.run.job import TrainJob
from training.run.trackers import open_trackers
from training.run.watch import RunLog


class Record:
    """The log and the checkpoints of one run. Opening it claims the folder and cuts the rows after `step`.

    Args:
        job: what is trained.
        folder: of the run.
        step: optimizer steps done before.
        dtype: of the model file in a checkpoint.
    """

    def __init__(self, job: TrainJob, folder: RunFolder, step: int, dtype: torch.dtype):
        settings = job.settings
        self._identity = job.identity
        self._config = job.config | {"train": settings.model_dump(mode="json")}
        allowed = partial(folder.check_owner, folder.claim())
        trackers = open_trackers(settings.trackers, folder, job.run_id, step, self._config)
        self.log = RunLog(folder, step, trackers, allowed)
        self._writer = CheckpointWriter(
            folder.checkpoints, settings.keep_last, settings.keep_every, dtype, allowed
        )

    def save(self, state: OptimizerState, samples: int) -> None:
        """Begin to write a checkpoint; the rows up to it are on disk first."""
        self.log.flush()
        self._writer.save(Checkpoint(state, samples, self._identity, self._config))

    def close(self) -> None:
        """Everything is on disk when this returns."""
        self.log.close()
        self._writer.wait()
