"""Pure functions of the step: a worker's samples, the learning rate, the EMA decay, the random seed."""

import hashlib
import math
from collections.abc import Iterator

from training.errors import TrainingError
from training.run.settings import TrainSettings


def rank_samples(step: int, rank: int, world_size: int, batch: int, accumulation: int) -> list[list[int]]:
    """Global sample numbers that one worker takes at one optimizer step, a list per micro-batch.

    Step s covers the numbers s·G to (s+1)·G - 1 with G = batch · world_size · accumulation; micro-batch j of
    rank r takes the `batch` numbers from s·G + j·batch·world_size + r·batch. The union over the ranks depends
    on G alone: one worker with batch 2k and two with batch k see the same samples in the same step.
    """
    per_micro = batch * world_size
    first = step * per_micro * accumulation + rank * batch
    return [list(range(first + j * per_micro, first + j * per_micro + batch)) for j in range(accumulation)]


def worker_accumulation(settings: TrainSettings, world_size: int) -> int:
    """Micro-batches per step with `world_size` workers, such that the samples of a step stay the same.

    Raises:
        TrainingError: the step's samples cannot be divided among that many workers.
    """
    micro = settings.batch_size * world_size
    if settings.samples_per_step % micro:
        raise TrainingError(
            f"A step of {settings.samples_per_step} samples cannot be divided among {world_size} workers "
            f"with batch size {settings.batch_size}. Choose `accumulation` so that "
            f"accumulation × {settings.max_workers} is a multiple of every number of workers from "
            f"{settings.min_workers} to {settings.max_workers}."
        )
    return settings.samples_per_step // micro


def sample_plan(
    settings: TrainSettings, rank: int, world_size: int, step: int = 0, samples: int = 0
) -> Iterator[list[int]]:
    """The micro-batches of one worker, in order, from `step` to the end, when `samples` were taken before it.

    samples is step · samples_per_step unless the run was resumed with another batch size: then the numbers go
    on where they were, and none is taken twice.
    """
    accumulation = worker_accumulation(settings, world_size)
    shift = samples - step * settings.samples_per_step
    for at in range(step, settings.steps):
        for micro in rank_samples(at, rank, world_size, settings.batch_size, accumulation):
            yield [number + shift for number in micro]


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Rate of the step from `step` (from 0) to step + 1: linear warm-up, then constant or cosine to zero."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.lr
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def ema_decay(step: int, decay: float) -> float:
    """Decay after `step` steps; it starts low, so that an early average is not the initial weights."""
    return min(decay, (1 + step) / (10 + step))


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of torch's global generators for one step of one worker: nothing random outlives a step, so
    nothing random has to be stored."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
