"""One clip of one effect, as pixels."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.samples.categories import find_category
from pipeline.samples.effect import draw_params
from pipeline.samples.scene import Scene, make_scene

# Part of the names of files with rendered clips, which are made anew when it is raised: raise it when scenes,
# effects or the formats of files change.
EDITION = 2
MAX_ASPECT = 2.4  # beyond it a rolling or circling camera would look past the background's edge


def render_clip(
    effect: str, seed: int, num_frames: int, height: int, width: int, fps: float | Sequence[float] = 8.0
) -> tuple[np.ndarray, str]:
    """Render a clip; the same seed shows the same scene at every size and under every effect.

    Args:
        effect: a name in CATEGORIES.
        seed: chooses scene, caption and the effect's parameters, in every process alike.
        fps: frames a second, or the time of every frame in seconds, ascending. The effect spans the clip
            whatever its duration, so only the spacing of the frames matters.

    Returns:
        (pixels uint8 [num_frames, height, width, 3], caption of the scene, which does not name the effect).

    Raises:
        UnknownEffect: no effect has that name.
        ValueError: not one timestamp a frame; fewer than 16 pixels; more than 2.4 times as long as wide.
    """
    pixels = np.empty((num_frames, height, width, 3), np.uint8)
    for k, frame in enumerate(render_frames(effect, seed, clip_times(num_frames, fps), height, width)):
        pixels[k] = frame
    return pixels, make_scene(seed).caption


def render_frames(
    effect: str, seed: int, times: Sequence[float], height: int, width: int, scene: Scene | None = None
) -> Iterator[np.ndarray]:
    """The frames one by one, uint8 [height, width, 3], at clip times in [0, 1].

    Args:
        scene: what the effect happens to; None: the seed's.
    """
    if height < 16 or width < 16:
        raise ValueError(f"A clip needs at least 16 × 16 pixels, not {width} × {height}.")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f"Scenes reach as far as an aspect ratio of {MAX_ASPECT}: {width} × {height} is longer."
        )
    chosen = find_category(effect)
    unit = min(height, width)
    margin = (chosen.margin[0] * width / unit, chosen.margin[1] * height / unit)
    layers = (scene or make_scene(seed)).layers(height, width, margin)
    params = draw_params(effect, seed)
    for t in times:
        yield np.asarray(chosen.apply(layers, float(t), params))


def clip_times(num_frames: int, fps: float | Sequence[float] = 8.0) -> np.ndarray:
    """Clip time of every frame, [num_frames]: 0 at the first, 1 at the last."""
    stamps = np.arange(num_frames) / fps if isinstance(fps, int | float) else np.asarray(fps, np.float64)
    if len(stamps) != num_frames or num_frames < 1:
        raise ValueError(f"{num_frames} frames need as many timestamps, not {len(stamps)}.")
    span = stamps[-1] - stamps[0]
    return (stamps - stamps[0]) / span if span > 0 else np.zeros(num_frames)
