"""A run from its driver: Ray Train starts the workers, and again after a loss; `worker.py` has the steps."""

import logging
import os
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError
from training.objects import SCHEME, Faltered, StoreError, connect
from training.progress import Progress
from training.run.bucket import RunBucket
from training.run.checkpoint import check_identity, open_newest
from training.run.folder import RunFolder
from training.run.in_thread import in_thread
from training.run.job import TrainJob, TrainResult
from training.run.room import require_workers, worker_resources
from training.run.schedule import worker_accumulation
from training.run.settings import TrainSettings
from training.run.trackers import require_trackers
from training.run.watch import Follow, last_of, last_row
from training.run.worker import work

if TYPE_CHECKING:
    from training.batch import BatchStream

# What workers that were asked to stop have to save what they did.
PATIENCE_SECONDS = 10
logger = logging.getLogger(__name__)


def train(job: TrainJob, stream: "BatchStream", progress: Progress | None = None) -> TrainResult:
    """Train to the end, from the newest good checkpoint in the run's folder if there is one.

    Lost workers are replaced, and the run goes on from its newest checkpoint; so does a later call after the
    driver itself was lost. On CPUs in fp32 the result equals an uninterrupted run's bit for bit. When this is
    interrupted (KeyboardInterrupt), the workers save what they have before it is raised again.

    Args:
        job: what to train.
        stream: delivers the batches, in each worker.
        progress: called about twice a second with (steps done, steps in all, last row).

    Raises:
        CheckpointError: the folder holds another model's run, or a checkpoint cannot be written.
        RunBusy: another process trains in the folder.
        TrackerMissing: a tracker's package is not installed.
        Diverged: the loss or the gradient norm is not finite, or the norm exploded.
        Broken: a bug in a worker, told with its traceback.
        TrainingError: a worker cannot be set up as asked, or does not see the run's folder.
    """
    begin = time.monotonic()
    _require_settled(job.settings)
    # Ray's workers have another working directory.
    bucket = RunBucket(job.run_uri) if job.run_uri is not None else None
    folder = RunFolder(Path(job.run_dir).resolve(), f"{os.getpid()}-{time.time_ns()}", bucket)
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.held():
        folder.fetch()
        last = open_newest(folder.checkpoints)
        if last is not None:
            check_identity(last, job.identity)
        first = last.step if last is not None else 0
        if first < job.settings.steps:
            for workers in range(job.settings.min_workers, job.settings.max_workers + 1):
                worker_accumulation(job.settings, workers)
            with Follow(folder.metrics, job.settings.steps, progress, bucket and partial(_row_in, bucket)):
                _run_workers(job, stream, folder)
            folder.fetch()
            last = open_newest(folder.checkpoints)
    if last is None or last.step < job.settings.steps:
        raise TrainingError(
            f"The workers ended before step {job.settings.steps}; run the same command again."
        )
    return TrainResult(
        step=last.step,
        checkpoint=last.path,
        metrics=last_row(folder.metrics) or {},
        metrics_path=folder.metrics,
        seconds=time.monotonic() - begin,
        resumed_from=first,
    )


def _require_settled(settings: TrainSettings) -> None:
    """What can be refused from the settings alone."""
    require_trackers(settings.trackers)
    for name in ("zero_stage", "activation_checkpointing"):
        if getattr(settings, name) == "auto":
            raise TrainingError(
                f"`{name}` is auto: plan the run with `planning.preflight` and train with its settings."
            )


def _run_workers(job: TrainJob, stream: "BatchStream", folder: RunFolder) -> None:
    """Have Ray Train run `work` in every worker, again after a loss of one, until it returns."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    if not ray.is_initialized():
        ray.init()
    settings = job.settings
    worker = worker_resources(settings)
    gpu = "GPU" in worker
    require_workers(settings, worker)
    trainer = TorchTrainer(
        # Bound here: Ray's controller reads a `train_loop_config`, and would import the whole model for it.
        partial(work, job, stream, folder),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpu,
            resources_per_worker=worker,
            elastic_resize_monitor_interval_s=settings.growth_seconds,
        ),
        run_config=RunConfig(
            name=f"{job.run_id}-{folder.attempt}",
            **_storage(folder),
            failure_config=FailureConfig(
                max_failures=settings.max_failures, max_preemption_failures=settings.max_preemptions
            ),
        ),
    )
    running = in_thread(trainer.fit)
    try:
        running.result()
    except KeyboardInterrupt:
        _save_and_say(running, folder)
        raise
    except TrainingFailedError as error:
        if (stopped := folder.stopped()) is not None:
            raise stopped from error
        # What a worker could not write down, for the place to write it failed.
        for failure in getattr(error, "worker_failures", {}).values():
            if isinstance(cause := _cause(failure), TrainingError | Faltered):
                raise TrainingError(str(cause)) from error
        raise
    if (stopped := folder.stopped()) is not None:
        raise stopped


def _storage(folder: RunFolder) -> dict[str, Any]:
    """Where Ray Train keeps its own state, which all workers have to reach."""
    if folder.bucket is None:
        return {"storage_path": str(folder.path / "ray")}
    place = folder.bucket.uri.removeprefix(SCHEME)
    return {"storage_path": f"{place}/ray", "storage_filesystem": connect(place.partition("/")[0])}


def _row_in(bucket: RunBucket) -> dict[str, float] | None:
    try:
        return last_of(bucket.read("metrics.jsonl") or "")
    except (StoreError, Faltered):
        return None  # a look; the next one may find it


def _cause(error: BaseException) -> BaseException:
    """What a worker raised, out of what Ray wraps around it."""
    while isinstance(inner := getattr(error, "_base_exc", None) or getattr(error, "cause", None), Exception):
        error = inner
    return error


def _save_and_say(running: Future, folder: RunFolder) -> None:
    """Have the workers save, wait for them as long as a person would, and tell what is lost."""
    folder.ask_to_stop()
    with suppress(Exception):  # however it ends, what it left is looked at
        running.result(timeout=PATIENCE_SECONDS)
    saved = folder.saved_steps()
    step = saved[-1] if saved else 0
    done = int((last_row(folder.metrics) or {"step": 0})["step"])
    lost = f"steps {step + 1} to {done} will be done again" if done > step else "nothing will be done again"
    logger.warning("Training stopped. Step %d is saved in %s; %s.", step, folder.path, lost)
