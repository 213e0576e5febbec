"""A look at held-out pairs between two steps: figures and videos, with the averaged weights."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from training.run.folder import RunFolder
from training.run.job import TrainJob
from training.run.watch import StepClock

if TYPE_CHECKING:
    from training.run.engine import Engine

logger = logging.getLogger(__name__)


def take_look(
    job: TrainJob, engine: "Engine", folder: RunFolder, step: int, clock: StepClock
) -> tuple[dict[str, float | str], list[Path]]:
    """Evaluate and sample with the averaged weights; every worker has to call it.

    Returns:
        the row's new columns, and the videos that this worker may show.
    """
    found: dict[str, float | str] = {}
    videos: list[Path] = []
    first = dist.get_rank() == 0
    with torch.no_grad(), engine.ema_weights():
        if job.evaluate is not None:
            with clock.apart("evaluation"), _tolerated("evaluation", step, found, dist.get_world_size() == 1):
                found |= {f"eval/{name}": value for name, value in job.evaluate(engine.module, step).items()}
        together = job.settings.zero_stage == 3
        if job.sample is not None and (first or together):
            alone = dist.get_world_size() == 1 or not together
            with clock.apart("sampling"), _tolerated("sampling", step, found, alone):
                job.sample(engine.module, step, folder.samples(step) if first else None)
                videos = sorted(folder.samples(step).glob("*.mp4")) if first else []
    return found, videos


@contextmanager
def _tolerated(what: str, step: int, found: dict[str, float | str], alone: bool) -> Iterator[None]:
    """A look that fails is a warning and a column with its reason: the run goes on without it.

    Where workers wait for each other in it (not `alone`), an error ends them, and the run goes on from the
    checkpoint before the look.
    """
    try:
        yield
    except Exception as error:
        if not alone:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        logger.warning("The %s after step %d failed (%s); training goes on.", what, step, reason)
        found[f"{what}_failed"] = reason
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
