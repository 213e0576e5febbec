"""A look at held-out pairs between two steps: figures and videos, with the averaged weights."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from training.run.folder import RunFolder
from training.run.job import TrainJob
from training.run.team import Team
from training.run.watch import StepClock

if TYPE_CHECKING:
    from training.run.engine import Engine

T = TypeVar("T")
logger = logging.getLogger(__name__)


class LookFailed(RuntimeError):
    """A part of a look failed in one of the workers; training goes on without it."""


def take_look(
    job: TrainJob, engine: "Engine", folder: RunFolder, step: int, clock: StepClock, team: Team
) -> tuple[dict[str, float | str], list[Path]]:
    """Evaluate and sample, the work shared by the workers, every one of which has to call it.

    What fails (memory, disk, anything) is a warning and a column `…_failed` with its reason.

    Returns:
        the row's new columns, and the videos.
    """
    found: dict[str, float | str] = {}
    videos: list[Path] = []
    together = job.settings.zero_stage == 3 and team.size > 1

    def evaluation() -> None:
        measured = _by_all(lambda: job.evaluate.measure(engine.module, team.rank, team.size), team, together)
        found.update({f"eval/{name}": value for name, value in job.evaluate.row(measured).items()})

    def sampling() -> None:
        made = folder.samples(step)

        def share() -> None:
            job.sample(engine.module, made, team.rank, team.size, together)
            if team.rank:
                folder.hand_in(made)

        _by_all(share, team, together)
        if team.rank == 0:
            folder.handed_in(made)
        videos.extend(sorted(made.glob("*.mp4")))

    with torch.no_grad(), engine.ema_weights():
        for part, asked in ((evaluation, job.evaluate), (sampling, job.sample)):
            if asked is None:
                continue
            try:
                with clock.apart(part.__name__):
                    part()
            except LookFailed as failed:
                found[f"{part.__name__}_failed"] = str(failed)
                if team.rank == 0:
                    logger.warning("%s after step %d: %s. Training goes on.", part.__name__, step, failed)
    return found, videos


def _by_all(work: Callable[[], T], team: Team, together: bool) -> list[T]:
    """What `work` returns in every worker.

    Raises:
        LookFailed: in all workers, when it failed in one. Where they work `together` the others wait for the
            one that failed: its own error is raised, the workers end, and the run goes on after this look.
    """
    try:
        done, reason = work(), None
    except Exception as error:
        if together:
            raise
        done, reason = None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    everyone = team.gather((done, reason))
    if reasons := [reason for _, reason in everyone if reason is not None]:
        raise LookFailed(reasons[0])
    return [done for done, _ in everyone]
