"""Many clips, spread over Ray: each actor loads the model once; what is there is not made again.

A clip that is done says so itself, in its metadata, and appears whole or not at all: whatever is killed, the
same list goes on with what is missing.
"""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import av
import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from catalog.errors import CatalogError
from catalog.store import Catalog
from pipeline.batch_file import Wanted
from pipeline.errors import PipelineError
from pipeline.workers.crew import Crew
from training.backbones.settings import BackboneSettings
from training.errors import TrainingError
from training.files import write_atomically
from training.progress import Progress
from training.release import Release
from training.settings import GenerateSettings

logger = logging.getLogger(__name__)

RESULTS = "results.jsonl"
# One is denoised while the one before it is decoded and written.
_AT_ONCE = 2
_LOOK_EVERY = 1.0  # seconds between two looks at how far everybody is
_WRITE_EVERY = 5.0
LOST = "Two workers died while it was made; perhaps their machines have too little memory."


@dataclass(frozen=True)
class Outcome:
    """What became of one line: `made`, `kept` (it was there) or `failed`, and why."""

    line: int
    output: str
    status: str
    reason: str = ""
    seconds: float = 0.0


class ClipMaker:
    """Actor: a studio that is loaded once. One item is denoised at a time, another is decoded beside it."""

    def __init__(
        self, catalog: Catalog, release: Release, backbone: BackboneSettings, settings: GenerateSettings
    ) -> None:
        from pipeline.studio import Studio

        self.trouble, self._studio = "", None
        try:
            self._studio = Studio(catalog, release, backbone, settings)
        except (PipelineError, TrainingError, CatalogError) as error:
            self.trouble = str(error)
        self._denoising = threading.Lock()
        self._done: dict[int, int] = {}

    def ready(self) -> str:
        """What keeps it from working, or ""."""
        return self.trouble

    def steps(self) -> dict[int, int]:
        """Steps done, by line, of what is being made."""
        return dict(self._done)

    def make(self, wanted: Wanted) -> Outcome:
        """Make one clip and write it; what goes wrong is the outcome's reason."""
        began, output = monotonic(), str(wanted.output)
        try:
            with self._denoising:
                draft = self._draft(wanted)
            clip = draft.develop()
            clip = replace(clip, adapter=clip.adapter.told(request=wanted.digest))
            clip.save(wanted.output)
        except (PipelineError, TrainingError, CatalogError) as error:
            return Outcome(wanted.line, output, "failed", str(error))
        except OSError as error:
            return Outcome(wanted.line, output, "failed", f"It cannot be written: {error.strerror or error}.")
        except Exception as error:
            logger.exception("line %d", wanted.line)
            return Outcome(wanted.line, output, "failed", f"A fault of ours: {type(error).__name__}: {error}")
        finally:
            self._done.pop(wanted.line, None)
        return Outcome(wanted.line, output, "made", "; ".join(clip.notes), round(monotonic() - began, 2))

    def _draft(self, wanted: Wanted):
        def told(done: int, total: int | None, facts: dict) -> None:
            self._done[wanted.line] = done

        given = [self._studio.load(name) if adapter else name for name, _, adapter in wanted.effects]
        weights = [weight for _, weight, _ in wanted.effects]
        alike = weights == [1 / len(weights)] * len(weights)
        settings = wanted.settings.model_dump(exclude={"polish"})
        return self._studio.draft(
            given,
            wanted.first_frame,
            wanted.prompt,
            told,
            wanted.settings.polish.steps,
            weights=None if alike else weights,
            **settings,
        )


def make_batch(
    wanted: Sequence[Wanted],
    folder: Path,
    catalog: Catalog,
    release: Release,
    backbone: BackboneSettings,
    settings: GenerateSettings,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Make the clips that are not there yet, on Ray, which runs.

    Args:
        wanted: from `read_batch`.
        folder: of the outputs; RESULTS in it has a row for every line, also where this is interrupted.
        workers: actors; None: one for each GPU of the cluster, or each CPU where it has none.
        progress: called with steps done, all steps, and how many clips are there.

    Returns:
        An outcome for each, in their order.

    Raises:
        NoCrew: the model cannot be loaded.
    """
    outcomes = {each.line: Outcome(each.line, str(each.output), "kept") for each in wanted if is_made(each)}
    due = [each for each in wanted if each.line not in outcomes]
    written = _Results(folder, wanted, outcomes)
    try:
        if due:
            for outcome in _made(due, (catalog, release, backbone, settings), workers, progress, outcomes):
                outcomes[outcome.line] = outcome
                written.write()
    finally:
        written.write(now=True)
    return [outcomes[each.line] for each in wanted]


def is_made(wanted: Wanted) -> bool:
    """Whether the output is there and was made by this very request."""
    return lineage_of(wanted.output).get("request") == wanted.digest


def lineage_of(video: Path) -> dict[str, Any]:
    """What a generated video says of itself; {} where it is none or says nothing."""
    try:
        with av.open(str(video), format="mov,mp4,m4a,3gp,3g2,mj2") as container:
            told = json.loads(container.metadata.get("comment", "{}"))
    except (OSError, ValueError, av.FFmpegError):
        return {}
    return told if isinstance(told, dict) else {}


class _Results:
    """The rows of a batch as a file that is always whole."""

    def __init__(self, folder: Path, wanted: Sequence[Wanted], outcomes: dict[int, Outcome]) -> None:
        self._path, self._wanted, self._outcomes = folder / RESULTS, wanted, outcomes
        self._last = 0.0

    def write(self, now: bool = False) -> None:
        if not now and monotonic() - self._last < _WRITE_EVERY:
            return
        self._last = monotonic()
        rows = []
        for each in self._wanted:
            found = self._outcomes.get(each.line) or Outcome(each.line, str(each.output), "due")
            rows.append(asdict(found) | {"request": each.digest})
        write_atomically(self._path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _made(
    due: Sequence[Wanted],
    arguments: tuple,
    workers: int | None,
    progress: Progress | None,
    outcomes: dict[int, Outcome],
) -> Iterator[Outcome]:
    has = ray.cluster_resources()
    gpus = int(has.get("GPU", 0))
    count = min(len(due), workers or gpus or max(1, int(has.get("CPU", 1))))
    actor = ray.remote(ClipMaker).options(num_cpus=1, num_gpus=1 if gpus else 0, max_concurrency=_AT_ONCE + 1)
    crew = Crew(lambda: actor.remote(*arguments), count, _AT_ONCE)
    total = sum(each.steps for each in due)
    finished = 0

    def tick() -> None:
        if progress is not None:
            steps = finished + sum(_under_way(crew.loaded).values())
            progress(steps, total, {"clips": f"{sum(o.status != 'failed' for o in outcomes.values())}"})

    named = {each.line: str(each.output) for each in due}
    for item, outcome in crew.work([each.anywhere() for each in due], tick, _LOOK_EVERY):
        finished += item.steps
        outcome = outcome or Outcome(item.line, "", "failed", LOST)
        yield replace(outcome, output=named[item.line])


def _under_way(actors: Sequence[ActorHandle]) -> dict[int, int]:
    found: dict[int, int] = {}
    for each in actors:
        # A worker that is gone says nothing.
        with suppress(RayActorError, ray.exceptions.GetTimeoutError):
            found |= ray.get(each.steps.remote(), timeout=_LOOK_EVERY)
    return found
