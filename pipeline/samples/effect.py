"""What an effect is: a name, a group, words for it, and a pure function from layers and time to a frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.samples.layers import Camera, Layers, Pose
from pipeline.samples.seeding import generator

GROUPS = ("transformation", "camera", "style")


@dataclass(frozen=True)
class Params:
    """How one clip's effect differs from another's of the same category."""

    strength: float  # 0.88..1.12, multiplies the amount
    direction: int  # -1 or 1, for effects that either way would still be the same
    onset: float  # when it begins, in clip time 0..1
    finish: float  # when it is complete
    phase: float  # 0..1, a hue or the start of a wave
    seed: int  # for fragments, flakes and noise

    def progress(self, t: float) -> float:
        """How far the effect has come: 0 before the onset, 1 after the finish, smooth in between."""
        return smooth((t - self.onset) / (self.finish - self.onset))

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator for one purpose: the same at every frame of the clip."""
        return generator(purpose, self.seed)


def draw_params(effect: str, seed: int) -> Params:
    """The parameters of the clip that shows `effect` with this seed."""
    rng = generator("params", effect, seed)
    return Params(
        strength=float(rng.uniform(0.88, 1.12)),
        direction=int(rng.choice([-1, 1])),
        onset=float(rng.uniform(0.04, 0.12)),
        finish=float(rng.uniform(0.78, 0.95)),
        phase=float(rng.random()),
        seed=int(rng.integers(2**31)),
    )


Apply = Callable[[Layers, float, Params], Image.Image]
Extent = tuple[float, float]  # width and height of the frame, world units
Views = tuple[Camera, Camera]  # what the background and what the subject is seen from
Aim = Callable[[Extent, float, Params], Views]
Hold = Callable[[float, Params], Pose]


@dataclass(frozen=True)
class Effect:
    """One category of effects.

    `apply(layers, t, params)` is the RGB frame at clip time t in [0, 1]; at t = 0 it is the scene itself.
    `margin` is how much background it needs beyond the frame: in frame widths and frame heights on each side.
    `synonyms` are words that would give the effect away; no caption may contain one.
    `family` and `value` say what kind of effect it is and which of its kind, as a person would name it.
    `parts` are the names of the effects that one of several effects is made of.
    `aim` is all that a move of the camera does, `pose` all that a gesture of the subject does: what can be
    said so simply can be done at the same time as others.
    """

    name: str
    group: str
    description: str
    apply: Apply
    synonyms: tuple[str, ...] = ()
    margin: tuple[float, float] = (0.0, 0.0)
    family: str = ""
    value: str = ""
    parts: tuple[str, ...] = ()
    aim: Aim | None = None
    pose: Hold | None = None


def aiming(aim: Aim) -> Apply:
    """The frames of a move of the camera."""
    return lambda layers, t, params: layers.shoot(*aim(layers.extent, t, params))


def holding(pose: Hold) -> Apply:
    """The frames of a gesture of the subject."""
    return lambda layers, t, params: layers.posed(pose(t, params))


def smooth(x: float) -> float:
    """0 below 0, 1 above 1, a smooth step between."""
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


def mix(start: float, end: float, share: float) -> float:
    """The value `share` of the way from start to end."""
    return start + (end - start) * share
