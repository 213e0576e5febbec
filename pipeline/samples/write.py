"""A folder of labelled sample videos, as a user would have collected them."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.samples.categories import CATEGORIES, find_category
from pipeline.samples.encode import encode_clip
from pipeline.samples.formats import ClipFormat, choose_format
from pipeline.samples.render import EDITION
from pipeline.samples.scene import make_scene
from pipeline.samples.seeding import generator
from training.files import write_atomically, written
from training.progress import Progress

MANIFEST = "captions.jsonl"
GENERATOR = "video2lora sample"
LICENCE = "CC0-1.0"


class BadSampleRequest(PipelineError):
    """A set of samples that cannot be made as asked."""


@dataclass(frozen=True)
class SampleClip:
    """One sample file and what is in it."""

    path: Path
    category: str
    caption: str
    seed: int
    format: ClipFormat

    def row(self, root: Path) -> dict[str, str | int]:
        """The clip's line in the manifest."""
        return {
            "file_path": self.path.relative_to(root).as_posix(),
            "text": self.caption,
            "type": self.category,
            "seed": self.seed,
            "generator": GENERATOR,
            "licence": LICENCE,
        }


def write_samples(
    folder: Path,
    categories: int | None = None,
    per_category: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
    effects: Sequence[str] | None = None,
    workers: int | None = None,
) -> list[SampleClip]:
    """Write `<folder>/<category>/<name>` for every clip and `captions.jsonl` beside the categories.

    Files that are there already are kept; a file appears under its name only when it is complete.

    Args:
        categories: how many effects, in order; default all of `effects`, or 24 of the registry.
        per_category: clips of each.
        seed: chooses subjects, scenes, parameters and file formats.
        progress: called with (clips done, clips in all, {"file": ..., "category": ...}).
        effects: names to choose from instead of the whole registry.
        workers: processes; default one for each CPU this process may use.

    Raises:
        BadSampleRequest: more categories than effects, fewer than one clip, a folder that is a file.
        UnknownEffect: a name in `effects` that no effect has.
    """
    folder = Path(folder)
    clips = plan_samples(folder, categories, per_category, seed, effects)
    if folder.exists() and not folder.is_dir():
        raise BadSampleRequest(f"{folder} is a file. Name a folder for the sample videos.")
    rows = _read_manifest(folder)
    missing = [clip for clip in clips if not clip.path.exists()]
    done = len(clips) - len(missing)
    for category in {clip.category for clip in clips}:
        (folder / category).mkdir(parents=True, exist_ok=True)
    if progress and done:
        progress(done, len(clips), {"file": "", "category": ""})
    try:
        for clip in _made(missing, workers or len(os.sched_getaffinity(0))):
            done += 1
            if progress:
                progress(done, len(clips), {"file": clip.path.name, "category": clip.category})
    finally:  # also of those that are there when somebody has enough
        there = (clip.row(folder) for clip in clips if clip.path.exists())
        rows |= {row["file_path"]: row for row in there}
        _write_manifest(folder, rows)
    return clips


def plan_samples(
    folder: Path, categories: int | None, per_category: int, seed: int, effects: Sequence[str] | None = None
) -> list[SampleClip]:
    """What `write_samples` would write: a pure function of its arguments."""
    names = list(dict.fromkeys(find_category(name).name for name in effects)) if effects else list(CATEGORIES)
    wanted = categories if categories is not None else (len(names) if effects else 24)
    if wanted < 1:
        raise BadSampleRequest(f"{wanted} categories are none. Ask for 1 to {len(names)}.")
    if wanted > len(names):
        raise BadSampleRequest(
            f"{wanted} categories are more than the {len(names)} effects there are. "
            f"Ask for {len(names)} or fewer."
        )
    if per_category < 1:
        raise BadSampleRequest(f"{per_category} clips per category are none. Ask for 1 or more.")
    return [_plan_clip(folder, name, k, seed) for name in names[:wanted] for k in range(per_category)]


def _plan_clip(folder: Path, category: str, member: int, seed: int) -> SampleClip:
    place = list(CATEGORIES).index(category)
    clip_seed = int(generator("clip", seed, category, member).integers(2**31))
    chosen = choose_format(place, member, seed)
    # The set's seed is in the name: two sets that share a clip's seed could still differ in its format.
    mark = int(generator("name", EDITION, seed, category, member).integers(16**8))
    path = folder / category / f"{category}_{member:03d}_{mark:08x}.{chosen.encoding.suffix}"
    return SampleClip(path, category, make_scene(clip_seed).caption, clip_seed, chosen)


def _made(clips: Sequence[SampleClip], workers: int) -> Iterator[SampleClip]:
    """Write the clips, yielding each as it is complete."""
    workers = min(workers, len(clips))
    if workers <= 1:
        for clip in clips:
            yield write_clip(clip)
        return
    # Spawned, not forked: the caller may hold threads of Ray or torch.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        for future in as_completed([pool.submit(write_clip, clip) for clip in clips]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; only the parent answers, the others finish their clip."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_clip(clip: SampleClip) -> SampleClip:
    """Write one clip; it has its name when it is whole."""
    with written(clip.path) as partial:
        encode_clip(partial, clip.category, clip.seed, clip.format)
    return clip


def _read_manifest(folder: Path) -> dict[str, dict]:
    """The lines of an earlier run whose files are still there, by file."""
    manifest = folder / MANIFEST
    lines = manifest.read_text().splitlines() if manifest.exists() else []
    try:
        rows = {row["file_path"]: row for row in map(json.loads, lines)}
    except (ValueError, TypeError, KeyError) as error:
        raise BadSampleRequest(
            f"{manifest} was not written by this command. Move it away or name another folder."
        ) from error
    return {name: row for name, row in rows.items() if (folder / name).exists()}


def _write_manifest(folder: Path, rows: dict[str, dict]) -> None:
    write_atomically(folder / MANIFEST, "".join(json.dumps(rows[name]) + "\n" for name in sorted(rows)))
