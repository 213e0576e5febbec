"""Numbered clips without files: clip n is the same in every process, whoever asks for it."""

import numpy as np

from pipeline.samples.effects import EFFECTS
from pipeline.samples.render import clip_times, render_frames
from pipeline.samples.scene import make_scene


def draw_clip(
    number: int, num_frames: int, height: int, width: int, first: int = 0, count: int | None = None
) -> tuple[np.ndarray, str, str]:
    """Clip `number` of an endless series that walks through all effects, each time with another scene.

    Args:
        number: from 0; its effect is number mod the count of effects, its scene is its own.
        num_frames: how many frames the whole clip has.
        first, count: render only these of them.

    Returns:
        (pixels uint8 [count, height, width, 3], caption, name of the effect).
    """
    effect = list(EFFECTS)[number % len(EFFECTS)]
    last = num_frames if count is None else first + count
    times = clip_times(num_frames)[first:last]
    frames = render_frames(effect, number, list(times), height, width)
    return np.stack(list(frames)), make_scene(number).caption, effect
