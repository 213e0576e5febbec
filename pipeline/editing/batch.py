"""Many edits from a list, each a Ray task that can be stopped and goes on, packed on CPUs or on GPUs."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import ray

from catalog.errors import CatalogError
from catalog.store import Catalog
from pipeline.edit import EditingSettings, Editor
from pipeline.editing.ask import BOX, DIFFERENCE, EVERYTHING, EditRequest, read_edit
from pipeline.editing.samples import fit_steps
from pipeline.editing.stopping import EditStopped, stoppable
from pipeline.errors import BadManifest, PipelineError
from training.errors import TrainingError
from training.progress import Progress

COLUMNS = ("video", "first_frame", "prompt", "mask", "invert_mask", "also", "caption", "lora", "output")
REQUIRED = ("video", "prompt")
DONE, MADE, FAILED, STOPPED = "there already", "made", "failed", "stopped"
# Seconds between two looks at how far everybody is, and those that tasks have to save their state.
_LOOK, _PATIENCE = 1.0, 60.0


def read_batch(
    path: Path, folder: Path, name_of: Callable[[EditRequest], str]
) -> list[tuple[EditRequest, Path]]:
    """The edits of a CSV with a line of names, and where each is written.

    Columns are named as the command's options; `also` holds several as `24=a.png;36=b.png`. A file is looked
    for beside the list first. Without `output` an edit goes into `folder`, under the name of `name_of`.

    Raises:
        BadManifest: no list, columns that are unknown or missing, two edits of one output, or a bad value.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(f"The list {str(path)!r} cannot be read: {error}.") from error
    rows = list(csv.DictReader(text.splitlines(), restkey="", restval=""))
    names = set(rows[0] if rows else ())
    if unknown := sorted(names - set(COLUMNS)):
        raise BadManifest(f"{path} has a column {unknown[0]!r}; an edit has {', '.join(COLUMNS)}.")
    if missing := [name for name in REQUIRED if name not in names]:
        raise BadManifest(
            f"{path} names no edit with a {missing[0]!r}; it begins with a line of column names."
        )
    found: list[tuple[EditRequest, Path]] = []
    for line, row in enumerate(rows, start=2):
        request = _request(path, line, {name: value.strip() for name, value in row.items()})
        output = Path(row["output"].strip()) if row.get("output", "").strip() else folder / name_of(request)
        if output in [each for _, each in found]:
            raise BadManifest(f"{path}, line {line}: {output} is the output of a line before it.")
        found.append((request, output))
    return found


def _request(path: Path, line: int, row: dict[str, str]) -> EditRequest:
    for name in REQUIRED:
        if not row[name]:
            raise BadManifest(f"{path}, line {line}: {name} is empty.")

    def beside(name: str) -> str:
        there = path.parent / name
        return str(there) if name and there.exists() else name

    also = {}
    for each in filter(None, row.get("also", "").split(";")):
        number, equals, name = each.partition("=")
        if not equals or not number.strip().isdecimal():
            raise BadManifest(f"{path}, line {line}: also {each!r} is not of the form 24=frame24.png.")
        also[int(number)] = beside(name.strip())
    mask = row.get("mask") or None
    if mask is not None and mask not in (DIFFERENCE, EVERYTHING) and not mask.startswith(BOX):
        mask = beside(mask)
    return EditRequest(
        video=beside(row["video"]),
        prompt=row["prompt"],
        first_frame=beside(row.get("first_frame", "")) or None,
        mask=mask,
        inverted=row.get("invert_mask", "").lower() in ("1", "true", "yes"),
        also=also,
        caption=row.get("caption") or None,
        lora=beside(row.get("lora", "")) or None,
    )


@ray.remote(num_cpus=0)
class Board:
    """How far every edit is, and which of them somebody wants to stop."""

    def __init__(self, count: int) -> None:
        self._done, self._stopped = [0] * count, [False] * count

    def tell(self, number: int, done: int) -> bool:
        """Note how far an edit is; whether it shall go on."""
        self._done[number] = done
        return not self._stopped[number]

    def stop(self, number: int | None = None) -> None:
        """Stop one edit, or all, each after the step that it is at."""
        for each in range(len(self._stopped)) if number is None else [number]:
            self._stopped[each] = True

    def done(self) -> int:
        """Steps of all together."""
        return sum(self._done)


def work_off(
    catalog: Catalog,
    work: Path,
    settings: EditingSettings,
    requests: Sequence[tuple[EditRequest, Path]],
    progress: Progress | None = None,
    *,
    again: bool = False,
    board: Any = None,
) -> list[dict[str, Any]]:
    """Make the edits; returns a row for each: output, state, error and facts, in their order.

    An edit takes one CPU, or on a cluster with GPUs the share of one that `settings.edit.gpus` says. One that
    fails is a row with a reason and stops no other. When this is interrupted every edit saves its state; the
    next call goes on there.

    Args:
        again: make those that are there once more.
        board: of `Board.remote(len(requests))`, by whoever wants to stop single ones.
    """
    board = board or Board.remote(len(requests))
    gpus = settings.edit.gpus if ray.cluster_resources().get("GPU", 0) else 0
    task = ray.remote(_edit).options(num_cpus=0 if gpus else 1, num_gpus=gpus, max_retries=2)
    rows: dict[int, dict[str, Any]] = {}
    running = {}
    for number, (request, output) in enumerate(requests):
        if not again and was_made(output, settings.asked(request)):
            rows[number] = {"output": str(output), "state": DONE, "error": ""}
            continue
        ref = task.remote(catalog, work.resolve(), settings, request, output.resolve(), number, board)
        running[ref] = number
    steps = [fit_steps(settings.edit, len(requests[number][0].also)) for number in running.values()]
    total = sum(steps) + len(steps) * settings.edit.sampling_steps
    try:
        _gather(running, rows, requests, board, total, progress)
    except BaseException:
        # Each stops after its step and saves its state.
        board.stop.remote()
        ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE)
        raise
    # A worker knows an output by its absolute path, a person as it was named.
    return [rows[number] | {"output": str(output)} for number, (_, output) in enumerate(requests)]


def _gather(
    running: dict[Any, int],
    rows: dict[int, dict[str, Any]],
    requests: Sequence[tuple[EditRequest, Path]],
    board: Any,
    total: int,
    progress: Progress | None,
) -> None:
    waiting = list(running)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=_LOOK)
        for ref in ready:
            try:
                rows[running[ref]] = ray.get(ref)
            except ray.exceptions.RayError as error:  # its worker died again and again
                lost = " ".join(str(error).split())[:200]
                output = str(requests[running[ref]][1])
                rows[running[ref]] = {"output": output, "state": FAILED, "error": f"its worker died: {lost}"}
        if progress is not None:
            progress(ray.get(board.done.remote()), total, {"edits": len(rows)})


def _edit(
    catalog: Catalog,
    work: Path,
    settings: EditingSettings,
    request: EditRequest,
    output: Path,
    number: int,
    board: Any,
) -> dict[str, Any]:
    """One edit in a worker: what became of it."""

    def told(done: int, total: int | None, facts: dict[str, Any]) -> None:
        if not ray.get(board.tell.remote(number, done)):
            raise EditStopped("It was stopped; its state is kept, and the same command goes on.")

    row = {"output": str(output), "state": MADE, "error": ""}
    try:
        asked = read_edit(catalog, request)
        told(0, None, {})
        made = Editor(catalog, work, settings).make(asked, stoppable(told, output))
        made.save(output)
        return row | {"facts": made.facts}
    except EditStopped as stopped:
        return row | {"state": STOPPED, "error": str(stopped)}
    except (PipelineError, TrainingError, CatalogError) as error:
        return row | {"state": FAILED, "error": str(error)}


def was_made(output: Path, asked: str) -> bool:
    """Whether the video that was asked for (`EditingSettings.asked`) lies there: its lineage says so."""
    try:
        with av.open(str(output), format="mov,mp4,m4a,3gp,3g2,mj2") as container:
            lineage = json.loads(container.metadata.get("comment", "{}"))
    except (OSError, ValueError, av.error.FFmpegError):
        return False
    return isinstance(lineage, dict) and lineage.get("asked") == asked
