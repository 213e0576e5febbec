"""Numbered clips without files: clip n is the same in every process, whoever asks for it."""

from collections.abc import Sequence

import numpy as np

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.render import clip_times, render_frames
from pipeline.samples.scene import make_scene

# From this number of `draw_clip` on nothing trains the backbone: what is measured there is new to it. A
# multiple of the categories, so that clip HELD_OUT + n shows the effect of clip n.
HELD_OUT = 20_000 * len(CATEGORIES)


def draw_clip(
    number: int,
    num_frames: int,
    height: int,
    width: int,
    first: int = 0,
    count: int | None = None,
    effects: Sequence[str] = tuple(CATEGORIES),
) -> tuple[np.ndarray, str, str]:
    """Clip `number` of an endless series that walks through some effects, each time with another scene.

    Args:
        number: from 0; its effect is number mod the count of effects, its scene is its own.
        num_frames: how many frames the whole clip has.
        first, count: render only these of them.
        effects: names in CATEGORIES; all of them unless told otherwise.

    Returns:
        (pixels uint8 [count, height, width, 3], caption, name of the effect).
    """
    effect = effects[number % len(effects)]
    last = num_frames if count is None else first + count
    times = clip_times(num_frames)[first:last]
    frames = render_frames(effect, number, list(times), height, width)
    return np.stack(list(frames)), make_scene(number).caption, effect
