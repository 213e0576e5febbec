"""The training loop: Ray Train starts the workers, DeepSpeed steps the module, this says what a step is."""

import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from training.errors import TooLittleMemory, TrainingError
from training.progress import Progress
from training.run.blocks import prepare_blocks
from training.run.checkpoint import (
    Checkpoint,
    check_identity,
    checkpoint_path,
    checkpoint_step,
    newest_checkpoint,
    read_checkpoint,
    read_state,
)
from training.run.devices import peak_flops
from training.run.folder import Broken, Diverged, RunFolder
from training.run.in_thread import in_thread
from training.run.job import TrainJob, TrainResult
from training.run.record import Record
from training.run.schedule import learning_rate, sample_plan, step_seed, worker_accumulation
from training.run.settings import TrainSettings
from training.run.trackers import require_trackers
from training.run.watch import Follow, StepClock, diverged, divergence, last_row

if TYPE_CHECKING:
    from training.batch import BatchStream
    from training.run.engine import Engine

OUT_OF_MEMORY = (
    "A worker ran out of its device's memory. Set `train.activation_checkpointing` and `train.zero_stage` to "
    "auto with a smaller `train.memory_gb`, or set a smaller `train.batch_size`."
)
# What only a bug raises: the loop is deterministic, so a restart would end in the same place. Anything else
# (a lost peer, a full disk, an unreachable store) may be better the next time.
BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)


def train(job: TrainJob, stream: "BatchStream", progress: Progress | None = None) -> TrainResult:
    """Train to the end, from the newest good checkpoint in the run's folder if there is one.

    Lost workers are replaced, and the run goes on from its newest checkpoint; so does a later call after the
    driver itself was lost. On CPUs in fp32 the result equals an uninterrupted run's bit for bit.

    Args:
        job: what to train.
        stream: delivers the batches, in each worker.
        progress: called about twice a second with (steps done, steps in all, last row).

    Raises:
        CheckpointError: the folder holds another model's run.
        TrackerMissing: a tracker's package is not installed.
        Diverged: the loss or the gradient norm is not finite, or the norm exploded.
        Broken: a bug in a worker, told with its traceback.
        TrainingError: a worker cannot be set up as asked.
    """
    begin = time.monotonic()
    _require_settled(job.settings)
    # Ray's workers have another working directory.
    folder = RunFolder(Path(job.run_dir).resolve(), attempt=f"{os.getpid()}-{time.time_ns()}")
    folder.path.mkdir(parents=True, exist_ok=True)
    found = newest_checkpoint(folder.checkpoints)
    if found is not None:
        check_identity(found, job.identity)
    first = read_state(found)["step"] if found is not None else 0
    if first < job.settings.steps:
        for workers in range(job.settings.min_workers, job.settings.max_workers + 1):
            worker_accumulation(job.settings, workers)
        with Follow(folder.metrics, job.settings.steps, progress):
            _run_workers(job, stream, folder)
    last = newest_checkpoint(folder.checkpoints)
    if last is None or read_state(last)["step"] < job.settings.steps:
        raise TrainingError(
            f"The workers ended before step {job.settings.steps}; run the same command again."
        )
    return TrainResult(
        step=read_state(last)["step"],
        checkpoint=last,
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
    """Have Ray Train run `_work` in every worker, again after a loss of one, until it returns."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    if not ray.is_initialized():
        ray.init()
    settings = job.settings
    gpu = settings.device == "cuda" or (
        settings.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    )
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "stream": stream, "folder": folder},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": settings.worker_cpus, **({"GPU": 1} if gpu else {})},
        ),
        run_config=RunConfig(
            name=f"{job.run_id}-{folder.attempt}",
            storage_path=str(folder.path / "ray"),
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    try:
        in_thread(trainer.fit)
    except TrainingFailedError as error:
        if (stopped := folder.stopped()) is not None:
            raise stopped from error
        raise
    if (stopped := folder.stopped()) is not None:
        raise stopped


def _work(config: dict) -> None:
    """One worker. What a person has to put right is recorded, so that no restart tries it again; so is a bug.

    Ray restarts workers after whatever exception, and does not let its kind decide.
    """
    job, stream, folder = config["job"], config["stream"], config["folder"]
    if folder.stopped() is not None:
        return
    try:
        _train(job, stream, folder)
    except Diverged as error:  # every worker comes to this conclusion in the same step
        if dist.get_rank() == 0:
            folder.stop(error)
    except (TrainingError, torch.OutOfMemoryError, *BUGS) as error:
        folder.stop(_final(error))
        if dist.get_world_size() > 1:
            raise  # the others wait for this one: Ray ends them


def _final(error: Exception) -> TrainingError | Broken:
    """How the run is told to have ended with an error that no restart helps against."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, torch.OutOfMemoryError):
        return TooLittleMemory(OUT_OF_MEMORY)
    return Broken("A worker failed:\n" + "".join(traceback.format_exception(error)))


def _train(job: TrainJob, stream: "BatchStream", folder: RunFolder) -> None:
    from training.run.engine import Engine  # imports DeepSpeed, which the driver does without

    settings, device = job.settings, _device()
    rank, world_size = dist.get_rank(), dist.get_world_size()
    accumulation = worker_accumulation(settings, world_size)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    torch.set_num_threads(settings.worker_threads or max(1, len(os.sched_getaffinity(0)) // world_size))

    checkpoint = _agreed_checkpoint(folder, device)
    first, samples = (checkpoint.step, checkpoint.samples) if checkpoint else (0, 0)
    torch.manual_seed(settings.seed)
    module = job.module().to(device)
    prepare_blocks(module, settings)
    engine = Engine(module, settings, world_size, device, checkpoint.optimizer if checkpoint else None)
    record = Record(job, folder, first, dtype) if rank == 0 else None
    batches = stream(sample_plan(settings, rank, world_size, first, samples))
    clock = StepClock(settings.samples_per_step, _useful(job, world_size, device))

    for step in range(first, settings.steps):
        torch.manual_seed(step_seed(settings.seed, step, rank))
        done, rate = step + 1, learning_rate(step, settings)
        measured: dict[str, Tensor] = {}
        for micro in range(accumulation):
            with clock.waiting():
                batch = next(batches)
            loss, metrics = engine.accumulate(batch.to(device, dtype))
            for name, value in {**metrics, "loss": loss}.items():
                measured[name] = measured.get(name, 0) + value.double() / accumulation
            if micro < accumulation - 1:
                engine.skip()
        samples += settings.samples_per_step
        row = {"step": done, "samples": samples, "lr": rate, **_mean_over_workers(measured, device)}
        log = done % settings.log_every == 0 or done == settings.steps
        if log:
            row |= {f"grad_norm/{part}": norm for part, norm in engine.norms_by_part().items()}

        # A loss that is not finite is seen before it touches the weights; the norm is known after the step.
        why = divergence(row["loss"], 0.0, settings.max_grad_norm)
        if why is None:
            row["grad_norm"] = engine.step(rate)
            why = divergence(row["loss"], row["grad_norm"], settings.max_grad_norm)
        if why is not None:
            if record is not None:
                record.close()
            raise diverged(done, why, newest_checkpoint(folder.checkpoints) if rank == 0 else None)
        engine.update_ema(done)
        clock.step()

        if settings.evaluate_every and done % settings.evaluate_every == 0:
            row |= _look(job, engine, folder, done, clock, record)
            log = True
        if log and record is not None:
            record.log.write(row | clock.columns() | {"workers": world_size})
        if done % settings.checkpoint_every == 0 or done == settings.steps:
            with clock.apart("checkpoint"):
                state = engine.state(keep=rank == 0)
                if record is not None:
                    record.save(state, samples)
    if record is not None:
        record.close()


def _look(
    job: TrainJob, engine: "Engine", folder: RunFolder, step: int, clock: StepClock, record: Record | None
) -> dict[str, float]:
    """Evaluate and sample with the averaged weights; every worker has to call it."""
    row: dict[str, float] = {}
    with torch.no_grad(), engine.ema_weights():
        if job.evaluate is not None:
            with clock.apart("evaluation"):
                row = {f"eval/{name}": value for name, value in job.evaluate(engine.module, step).items()}
        first = dist.get_rank() == 0
        if job.sample is not None and (first or job.settings.zero_stage == 3):
            with clock.apart("sampling"):
                job.sample(engine.module, step, folder.samples(step) if first else None)
                if record is not None:
                    record.log.show(sorted(folder.samples(step).glob("*.mp4")), step)
    return row


def _useful(job: TrainJob, world_size: int, device: torch.device) -> float | None:
    """Seconds that a step would take at the peak of all devices; None where that is unknown."""
    peak = peak_flops(device, job.settings.precision)
    if peak is None or job.flops_per_sample is None:
        return None
    return job.flops_per_sample * job.settings.samples_per_step / (peak * world_size)


def _device() -> torch.device:
    from ray.train.torch import get_device

    return get_device()


def _agreed_checkpoint(folder: RunFolder, device: torch.device) -> Checkpoint | None:
    """The newest good checkpoint as the first worker sees it: the others take the same step."""
    step = torch.full((1,), -1, dtype=torch.int64, device=device)
    if dist.get_rank() == 0 and (newest := newest_checkpoint(folder.checkpoints)) is not None:
        step.fill_(checkpoint_step(newest))
    dist.broadcast(step, src=0)
    if int(step) < 0:
        return None
    return read_checkpoint(checkpoint_path(folder.checkpoints, int(step)))


def _mean_over_workers(values: dict[str, Tensor], device: torch.device) -> dict[str, float]:
    names = sorted(values)
    means = torch.stack([values[name].to(device) for name in names])
    dist.all_reduce(means)
    return dict(zip(names, (means / dist.get_world_size()).tolist(), strict=True))
