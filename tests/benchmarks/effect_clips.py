"""Real renders as the classifiers see them, drawn on all cores, without torch or any model."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import numpy as np

from pipeline.samples.draw import HELD_OUT
from pipeline.samples.render import clip_times, render_frames
from training.evaluation.seen_frames import FRAMES, HEIGHT, WIDTH, chosen_frames

WHOLE = 49, 64, 96  # frames, height and width of the clips that backbones see
# Numbers that neither the backbone nor the hypernetwork trains on, and others to measure on.
TRAIN_FROM, TEST_FROM = 10 * HELD_OUT, 20 * HELD_OUT


def render(effect: str, seed: int) -> np.ndarray:
    """One clip as the classifier sees it, uint8 [3, 17, 32, 48]; only those frames are rendered."""
    count, height, width = WHOLE
    frames = np.stack(
        list(render_frames(effect, seed, clip_times(count)[chosen_frames(count)], height, width))
    )
    blocks = frames.reshape(FRAMES, HEIGHT, height // HEIGHT, WIDTH, width // WIDTH, 3)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8).transpose(3, 0, 1, 2)


def render_all(
    names: Sequence[str],
    seeds: Sequence[Sequence[int]],
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Clips of every effect in turn, uint8 [names · seeds, 3, 17, 32, 48].

    Args:
        seeds: for each name as many.
        workers: processes, default one for each core. They are forked: call this before CUDA is used.
    """
    workers = min(len(names), workers or len(os.sched_getaffinity(0)))
    if workers <= 1:
        return np.concatenate([_of_one(name, own) for name, own in zip(names, seeds, strict=True)])
    found = []
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for clips in pool.map(_of_one, names, seeds):
            found.append(clips)
            progress(len(found), len(names))
    return np.concatenate(found)


def _of_one(name: str, seeds: Sequence[int]) -> np.ndarray:
    return np.stack(list(map(render, repeat(name), seeds)))
