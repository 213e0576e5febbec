"""What the pocket CLIP looks at: a few frames of every category in many scenes, rendered once and kept.

A file a category, so that a killed run goes on, as many processes as there are cores; no torch, for it would
take each of them seconds to import.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.embedding.change import BLOCKS, observe
from pipeline.embedding.change import FRAMES as CHANGE_FRAMES
from pipeline.samples.render import render_frames
from pipeline.samples.scene import COLOURS, make_scene
from pipeline.samples.seeding import generator
from pipeline.samples.subjects import SUBJECTS
from training.files import written
from training.progress import Progress

FRAMES, SIDE = 8, 64
# Height and width in which clips are rendered; all are squashed to squares, as clips of a catalogue will be.
_SHAPES = ((72, 72), (64, 96), (64, 96), (96, 64), (64, 112), (80, 106))
# Scenes of the renders from which the pocket CLIP learns, and of those on which it is measured.
LEARNED_FROM, MEASURED_ON = 700_000_000, 800_000_000
# Clips of each category to learn from.
SCENES = 24
# A scene is shared by this share of the categories: told apart must be what happens, not what is there.
_SCENES_PER_CLIP = 8

SUBJECT_TEXTS = tuple(f"{colour} {subject}" for colour in COLOURS for subject in SUBJECTS)


def scene_of(category: str, number: int, count: int, first: int) -> int:
    """The seed of a category's clip `number` of `count`, from the scenes that begin at `first`."""
    return first + int(generator("pocket clip", category, number).integers(_SCENES_PER_CLIP * count))


def subject_of(seed: int) -> int:
    """Which of `SUBJECT_TEXTS` a scene shows."""
    scene = make_scene(seed)
    return SUBJECT_TEXTS.index(f"{scene.colour} {scene.subject}")


def look(category: str, seed: int, frames: int = FRAMES) -> np.ndarray:
    """A clip as the pocket CLIP sees one, uint8 [frames, 64, 64, 3]; its begin and end differ a little."""
    draw = generator("pocket clip shape", category, seed)
    height, width = _SHAPES[draw.integers(len(_SHAPES))]
    times = np.linspace(draw.uniform(0, 0.04), draw.uniform(0.94, 1.0), frames)
    shown = [
        np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX))
        for frame in render_frames(category, seed, list(times), height, width)
    ]
    return np.stack(shown)


def render_categories(
    categories: Sequence[str],
    count: int,
    first: int,
    work: Path,
    processes: int,
    progress: Progress | None = None,
    frames: int = FRAMES,
) -> tuple[np.ndarray, np.ndarray]:
    """Render what is not yet in `work` and load all of it.

    Args:
        categories: names in `pipeline.samples.categories.CATEGORIES`.
        count: clips of each.
        first: where their scenes begin.
        frames: of each clip.

    Returns:
        clips uint8 [categories, count, frames, 64, 64, 3]; place in `SUBJECT_TEXTS` [categories, count].
    """
    work.mkdir(parents=True, exist_ok=True)
    files = [work / f"{name}-{first}-{count}-{frames}.npz" for name in categories]
    missing = [(name, file) for name, file in zip(categories, files, strict=True) if not file.exists()]
    done = len(files) - len(missing)
    if progress:
        progress(done, len(files), {})
    if missing:
        # LanceDB's and torch's threads do not survive a fork.
        with ProcessPoolExecutor(min(processes, len(missing)), mp_context=get_context("spawn")) as pool:
            made = [pool.submit(_render, name, count, first, frames, file) for name, file in missing]
            for future in as_completed(made):
                future.result()
                done += 1
                if progress:
                    progress(done, len(files), {})
    clips = np.empty((len(files), count, frames, SIDE, SIDE, 3), np.uint8)
    subjects = np.empty((len(files), count), np.int64)
    for place, file in enumerate(files):
        with np.load(file) as held:
            clips[place], subjects[place] = held["clips"], held["subjects"]
    return clips, subjects


def measured(category: str, count: int, first: int, work: Path) -> dict[str, np.ndarray]:
    """What `change.observe` says of a category's first clips: its blocks, each [count, its size].

    What is in the folder `work` is not measured again.
    """
    file = work / f"{category}-{first}-{count}.npz"
    if not file.exists():
        seeds = [scene_of(category, number, SCENES, first) for number in range(count)]
        seen = [observe(look(category, seed, CHANGE_FRAMES)) for seed in seeds]
        with written(file) as part, part.open("wb") as opened:
            np.savez(opened, **{name: np.stack([each[name] for each in seen]) for name in BLOCKS})
    with np.load(file) as held:
        return {name: held[name] for name in BLOCKS}


def _render(category: str, count: int, first: int, frames: int, file: Path) -> None:
    seeds = [scene_of(category, number, count, first) for number in range(count)]
    clips = np.stack([look(category, seed, frames) for seed in seeds])
    with written(file) as part, part.open("wb") as opened:
        np.savez(opened, clips=clips, subjects=np.array([subject_of(seed) for seed in seeds]))
