"""Effects made of effects: two at once, one after the other, or one in another manner of time.

A clip has three things that can change independently: from where it is seen, what the subject does, and what
the whole picture looks like. Effects of different kinds, moves of the camera among each other, and gestures
of the subject among each other, can be done at the same time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
from PIL import Image

from pipeline.samples.effect import Apply, Effect, Params, smooth
from pipeline.samples.layers import STILL, Camera, Layers, Pose
from pipeline.samples.subjects import SPAN

REACH = 0.5  # of a pan where the subject has to stay in view

# How clip time runs: from (clip time, parameters) to the time at which the effect is shown.
MANNERS: Mapping[str, Callable[[float, Params], float]] = {
    "and_back": lambda t, params: 1.0 - abs(2.0 * t - 1.0),
    "suddenly": lambda t, params: min(1.0, max(0.0, (t - 0.35 - 0.3 * params.phase) / 0.07)),
    "step_by_step": lambda t, params: (math.floor(4 * t) + smooth((4 * t % 1) / 0.2)) / 4.0 if t < 1 else 1.0,
}


def together(first: Effect, second: Effect) -> Effect:
    """Both from the beginning to the end of the clip."""
    return _made(
        f"{first.name}_and_{second.name}",
        f"{first.description}, and at once {second.description}",
        (first, second),
        in_turn=False,
    )


def in_turn(first: Effect, second: Effect) -> Effect:
    """The first in the first half of the clip, the second, with what the first left, in the second half."""
    return _made(
        f"{first.name}_then_{second.name}",
        f"{first.description}, then {second.description}",
        (first, second),
        in_turn=True,
    )


def in_manner(effect: Effect, manner: str) -> Effect:
    """The effect as clip time runs in that manner."""
    when = MANNERS[manner]

    def apply(layers: Layers, t: float, params: Params) -> Image.Image:
        return effect.apply(layers, when(t, params), params)

    return replace(
        effect,
        name=f"{effect.name}_{manner}",
        description=f"{effect.description}, {manner.replace('_', ' ')}",
        apply=apply,
        family="",
        value="",
        parts=(effect.name, manner),
        aim=None,
        pose=None,
    )


def _made(name: str, description: str, parts: tuple[Effect, Effect], in_turn: bool) -> Effect:
    margins = [part.margin for part in parts]
    return Effect(
        name,
        parts[0].group,
        description,
        _apply(parts, in_turn),
        tuple({word: None for part in parts for word in part.synonyms}),
        tuple(map(sum, zip(*margins, strict=True))),
        parts=tuple(part.name for part in parts),
    )


def _apply(parts: tuple[Effect, ...], in_turn: bool) -> Apply:
    kinds = [_kind(part) for part in parts]
    cameras, gestures, looks = (
        [(part, k) for k, part in enumerate(parts) if kinds[k] == kind]
        for kind in ("camera", "gesture", "look")
    )
    played = [(part, k) for k, part in enumerate(parts) if kinds[k] in ("gesture", "act")]
    reach = REACH if played else 1.0

    def subject(view: Layers, plain: Layers, times: list[float], params: Params) -> Image.Image:
        """The frame before anything happens to it as a picture."""
        if not played:
            return view.posed(Pose())
        if in_turn:
            part, k = next((each for each in reversed(played) if times[each[1]] > 0), played[0])
            if (part, k) != played[0]:
                view = _after(view, played[0][0], plain, params)
            return part.apply(view.of(part.name), times[k], params)
        pose = reduce(Pose.then, (part.pose(times[k], params) for part, k in gestures), Pose())
        held = view.held(pose) if gestures else view
        act = next((part for part, _ in played if not part.pose), None)
        return act.apply(held.of(act.name), times[0], params) if act else held.posed(Pose())

    def apply(layers: Layers, t: float, params: Params) -> Image.Image:
        times = [min(1.0, max(0.0, len(parts) * t - k)) if in_turn else t for k in range(len(parts))]
        view = layers
        if cameras:
            far = near = STILL
            for part, k in cameras:
                moved = part.aim(layers.extent, times[k], params)
                far, near = far.then(moved[0]), near.then(moved[1])
            view = view.seen(_nearer(far, reach), _nearer(near, reach))
        frame = subject(view, layers, times, params)
        for part, k in looks:
            if times[k] > 0:
                frame = part.apply(view.of(part.name).showing(frame), times[k], params)
        return frame

    return apply


def _kind(effect: Effect) -> str:
    if effect.aim:
        return "camera"
    if effect.pose:
        return "gesture"
    return "look" if effect.group == "style" else "act"


def _nearer(camera: Camera, reach: float) -> Camera:
    return camera if reach == 1 else Camera(reach * camera.x, reach * camera.y, camera.zoom, camera.roll)


def _after(view: Layers, act: Effect, layers: Layers, params: Params) -> Layers:
    """The view with the subject as `act` has left it: a new sprite, cut out of the act's last frame."""

    def cut() -> tuple[Image.Image, tuple[float, float], float]:
        alone = layers.of(act.name)
        black, white = (
            np.asarray(act.apply(alone.before((level,) * 3), 1.0, params), np.float32) for level in (0, 255)
        )
        # Over black c·α, over white c·α + 255 (1 - α): the difference tells α, then c.
        alpha = 255 - np.clip((white - black).mean(-1), 0, 255)
        colours = np.where(alpha[..., None] > 8, black * 255 / np.maximum(alpha, 8)[..., None], 0)
        body = alpha > 127
        colours[alpha <= 8] = colours[body].mean(0) if body.any() else 0
        rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
        if not len(rows):
            return layers.sprite, layers.centre, layers.radius
        left, right = ((k - layers.width / 2) / layers.unit for k in (columns[0], columns[-1] + 1))
        top, bottom = ((k - layers.height / 2) / layers.unit for k in (rows[0], rows[-1] + 1))
        radius = max(right - left, bottom - top, 0.5 * layers.radius) / 2
        centre = ((left + right) / 2, bottom - radius)
        size = max(8, round(2 * SPAN * radius * layers.unit))
        x, y = (centre[0] * layers.unit + layers.width / 2, centre[1] * layers.unit + layers.height / 2)
        half = SPAN * radius * layers.unit
        box = (x - half, y - half, x + half, y + half)
        picture = Image.fromarray(np.dstack([np.clip(colours, 0, 255), alpha]).astype(np.uint8))
        cutting = picture.transform((size, size), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
        return cutting, centre, radius

    sprite, centre, radius = layers.once(f"left by {act.name}", cut)
    return replace(view, sprite=sprite, centre=centre, radius=radius, drawn=radius)
