"""What each worker of a run does: DeepSpeed steps the module, this says what a step is."""

import logging
import os
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from training.attention import kernels
from training.errors import TooLittleMemory, TrainingError
from training.run.blocks import prepare_blocks
from training.run.checkpoint import Checkpoint, CheckpointError, read_state
from training.run.checkpoint_writer import disk_full
from training.run.devices import peak_flops
from training.run.figures import over_workers
from training.run.folder import Broken, Diverged, RunFolder
from training.run.job import TrainJob
from training.run.look import take_look
from training.run.notice import Notice
from training.run.record import Record
from training.run.schedule import learning_rate, sample_plan, step_seed, worker_accumulation
from training.run.team import Team
from training.run.watch import StepClock, diverged, divergence

if TYPE_CHECKING:
    from training.batch import BatchStream

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
logger = logging.getLogger(__name__)


def work(job: TrainJob, stream: "BatchStream", folder: RunFolder) -> None:
    """One worker. What a person has to put right is recorded, so that no restart tries it again; so is a bug.

    Ray restarts workers after whatever exception, and does not let its kind decide.
    """
    folder.require_seen()
    if folder.stopped() is not None:
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with kernels(_device()):
            _train(job, stream, folder)
    except Diverged as error:  # every worker comes to this conclusion in the same step
        if dist.get_rank() == 0:
            folder.stop(error)
    except (TrainingError, torch.OutOfMemoryError, *BUGS) as error:
        if _taken_down():
            raise
        folder.stop(final(error))
        if dist.get_world_size() > 1:
            raise  # the others wait for this one: Ray ends them
    except OSError as error:
        if disk_full(error):
            with suppress(OSError):  # then Ray tries again, and says it in its own words
                folder.stop(final(error))
        raise


def _taken_down() -> bool:
    """Whether Ray has ended the worker group under its training, as it does to begin again with more workers
    or without a machine that goes: what training then meets looks like a bug of ours."""
    time.sleep(1.0)  # the groups go one after the other
    return not dist.is_initialized()


def final(error: Exception) -> TrainingError | Broken:
    """How the run is told to have ended with an error that no restart helps against."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, torch.OutOfMemoryError):
        return TooLittleMemory(OUT_OF_MEMORY)
    if isinstance(error, OSError):
        return TrainingError(f"The run's disk is full ({error}). Make room and run the same command again.")
    return Broken("A worker failed:\n" + "".join(traceback.format_exception(error)))


def _train(job: TrainJob, stream: "BatchStream", folder: RunFolder) -> None:
    from training.run.engine import Engine  # imports DeepSpeed, which the driver does without

    settings, device = job.settings, _device()
    rank, world_size = dist.get_rank(), dist.get_world_size()
    accumulation = worker_accumulation(settings, world_size)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    torch.set_num_threads(settings.worker_threads or max(1, len(os.sched_getaffinity(0)) // world_size))

    team = Team()
    checkpoint = _agreed_checkpoint(folder, team)
    first, samples = (checkpoint.step, checkpoint.samples) if checkpoint else (0, 0)
    torch.manual_seed(settings.seed)
    module = job.module().to(device)
    prepare_blocks(module, settings)
    engine = Engine(module, settings, world_size, device, checkpoint)
    record = Record(job, folder, first)
    batches = stream(sample_plan(settings, rank, world_size, first, samples))
    clock = StepClock(settings.samples_per_step, _useful(job, world_size, device))
    notice = Notice()

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
        looks = rank == 0 and notice.due()
        flags = (rank == 0 and folder.asked_to_stop(everywhere=looks), looks)
        figures, (stopping, due) = over_workers(measured, engine.gradient_squares(), flags, device)
        row = {"step": done, "samples": samples, "lr": rate, **figures}

        # What is not finite is seen before it touches the weights.
        why = divergence(row["loss"], row["grad_norm"], settings.max_grad_norm)
        if why is not None:
            record.close()
            raise diverged(done, why, folder.newest_good() if rank == 0 else None)
        engine.step(rate)
        engine.update_ema(done)
        clock.step()
        record.check()

        leaving = due and notice.came()
        if leaving and rank == 0:
            logger.warning("A machine is about to be taken away: step %d is saved.", done)
        last = done == settings.steps or stopping
        look = settings.evaluate_every is not None and done % settings.evaluate_every == 0 and not stopping
        if done % settings.log_every == 0 or last or look:
            record.write(row | clock.columns() | {"workers": world_size})
        if done % settings.checkpoint_every == 0 or last or look or leaving:
            with clock.apart("checkpoint"):
                record.save(engine.shard(), samples)
                # Saved first: whatever the look does to this process, the run goes on after it.
                if look or leaving:
                    record.wait()
        if look:
            found, videos = take_look(job, engine, folder, done, clock, team)
            record.add(found | clock.between(), videos)
        if stopping:
            break
    record.close()


def _useful(job: TrainJob, world_size: int, device: torch.device) -> float | None:
    """Seconds that a step would take at the peak of all devices; None where that is unknown."""
    peak = peak_flops(device, job.settings.precision)
    if peak is None or job.flops_per_sample is None:
        return None
    return job.flops_per_sample * job.settings.samples_per_step / (peak * world_size)


def _device() -> torch.device:
    from ray.train.torch import get_device

    return get_device()


def _agreed_checkpoint(folder: RunFolder, team: Team) -> Checkpoint | None:
    """The newest good checkpoint that the first worker sees; each worker verifies a part of its files."""
    steps = team.gather(folder.saved_steps() if team.rank == 0 else [])
    for step in reversed(steps[0]):
        path = folder.checkpoint(step)
        try:
            state, error = read_state(path, slice(team.rank, None, team.size)), None
        except CheckpointError as found:
            state, error = None, str(found)
        problem = next((each for each in team.gather(error) if each is not None), None)
        if problem is None:
            return Checkpoint(path, state)
        logger.warning("%s Skipped: taking the one before.", problem)
    return None
