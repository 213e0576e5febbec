"""Effects that take the subject apart pixel by pixel: scattered in blocks, dissolved in dust, wiped away."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers, Pose
from pipeline.samples.splat import packed, strew
from pipeline.samples.subjects import SPAN

TAU = 2 * math.pi


@dataclass(frozen=True)
class Grains:
    """The subject's pixels: place in local units, colour, and a random number in [0, 1), each [n]."""

    u: np.ndarray
    v: np.ndarray
    pixels: np.ndarray  # colours, as `splat.packed`
    dice: np.ndarray  # [n, 3]

    @classmethod
    def of(cls, layers: Layers, params: Params) -> "Grains":
        pixels = np.asarray(layers.sprite)
        rows, columns = np.nonzero(pixels[..., 3] > 127)
        step = 2 * SPAN / len(pixels)
        dice = params.rng("grains").random((len(rows), 3), dtype=np.float32)
        return cls(
            ((columns + 0.5) * step - SPAN).astype(np.float32),
            ((rows + 0.5) * step - SPAN).astype(np.float32),
            packed(pixels[rows, columns, :3]),
            dice,
        )


def _strewn(
    layers: Layers, frame: Image.Image, u: np.ndarray, v: np.ndarray, pixels: np.ndarray
) -> Image.Image:
    """The frame with a pixel of colour at every local place (u, v), a block where the camera is near."""
    x0, y0 = layers.to_pixel(*layers.centre)
    size = layers.radius * layers.unit * layers.near.zoom
    cos, sin = math.cos(layers.near.roll) * size, math.sin(layers.near.roll) * size
    block = math.ceil(layers.scale - 0.05)
    strew(frame, x0 + cos * u - sin * v, y0 + sin * u + cos * v, pixels, block)
    return frame


def _linear(t: float, params: Params) -> float:
    """How far the effect has come, at an even pace."""
    return min(1.0, max(0.0, (t - params.onset) / (params.finish - params.onset)))


def _scatter(layers: Layers, t: float, params: Params, way: tuple[float, float]) -> Image.Image:
    """Falls into square blocks that fly off that way, those on the far side first."""
    p = max(0.0, t - params.onset) / (1 - params.onset) * 1.25 * params.strength
    if p == 0:
        return layers.posed(Pose())

    def blocks() -> tuple[Grains, np.ndarray, np.ndarray]:
        grains = Grains.of(layers, params)
        cell = np.floor((grains.u + SPAN) * 2.9) + 8 * np.floor((grains.v + SPAN) * 2.9)
        return grains, params.rng("blocks").random((64, 3))[cell.astype(int)].astype(np.float32), cell

    grains, dice, _ = layers.once("blocks", blocks)
    ahead = (grains.u * way[0] + grains.v * way[1] + 1.2) / 2.4
    age = np.maximum(p - 0.45 * (1 - ahead) - 0.15 * dice[:, 0], 0)
    reach = (3.5 + 3.5 * dice[:, 1]) * age * age
    side = (dice[:, 2] - 0.5) * 1.6 * age
    u = grains.u + way[0] * reach + way[1] * side
    v = grains.v + way[1] * reach + way[0] * side
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=1 - smooth(1.3 * p)))
    return _strewn(layers, frame, u, v, grains.pixels)


def _implode(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Its blocks trickle into one point in the middle until nothing is left."""
    p = params.progress(t)
    if p == 0:
        return layers.posed(Pose())
    grains = layers.once("grains", lambda: Grains.of(layers, params))
    distance = np.hypot(grains.u, grains.v)
    order = distance / 1.2 + 0.25 * grains.dice[:, 0]
    left = 1 - np.clip((1.6 * p - 0.6 * order) * 1.2, 0, 1) ** 2
    angle = 2.5 * params.direction * (1 - left)
    cos, sin = np.cos(angle) * left, np.sin(angle) * left
    shown = left > 0.02
    u, v = cos * grains.u - sin * grains.v, sin * grains.u + cos * grains.v
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=1 - 0.9 * p, opacity=1 - p))
    return _strewn(layers, frame, u[shown], v[shown], grains.pixels[shown])


def _dissolve(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Turns to dust from above, from below, from the middle or from the edges; the dust flies away."""
    p = 1.3 * _linear(t, params)
    if p == 0:
        return layers.posed(Pose())
    grains = layers.once("grains", lambda: Grains.of(layers, params))
    u, v, dice = grains.u, grains.v, grains.dice
    distance = np.hypot(u, v)
    order, fly_u, fly_v = {
        "from_above": ((v + 1) / 2, 0 * u, 0 * v - 1),
        "from_below": ((1 - v) / 2, np.sign(u) * 0.9, 0 * v + 0.25),
        "from_the_middle": (distance, u / (distance + 0.05), v / (distance + 0.05)),
        "from_the_edges": (1 - distance, u / (distance + 0.05), v / (distance + 0.05)),
    }[way]
    age = p - (0.7 * np.clip(order, 0, 1) + 0.25 * dice[:, 0])
    shown = age < 0.3
    flown = np.maximum(age, 0) * (2.0 + 3.0 * dice[:, 1])
    sway = np.maximum(age, 0) * (dice[:, 2] - 0.5) * 2.4
    u, v = u + fly_u * flown + sway * np.abs(fly_v), v + fly_v * flown + sway * np.abs(fly_u)
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=max(0.0, 1 - p)))
    return _strewn(layers, frame, u[shown], v[shown], grains.pixels[shown])


def _erase(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Wiped away along a clean edge that glows."""
    p = 1.2 * _linear(t, params) - 0.1

    def order() -> np.ndarray:
        size = layers.sprite.width
        axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * np.float32(SPAN)
        u, v = axis[None, :], axis[:, None]
        if way == "clockwise":
            return (np.arctan2(u + 0 * v, -v + 0 * u) / TAU) % 1
        along = {"from_the_left": u, "from_the_right": -u, "from_above": v, "from_below": -v}[way]
        return np.broadcast_to((along + 1) / 2, (size, size))

    ahead = layers.once("order", order) - p
    pixels = np.array(layers.sprite)
    edge = np.clip(1 - np.abs(ahead) * 16, 0, 1)[..., None]
    pixels[..., :3] = (pixels[..., :3] * (1 - edge) + 255 * edge).astype(np.uint8)
    pixels[..., 3] = (pixels[..., 3] * np.clip(ahead * 30 + 1, 0, 1)).astype(np.uint8)
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=min(1.0, max(0.0, 1 - p))))
    layers.stand(frame, sprite=Image.fromarray(pixels))
    return frame


def _sink(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Sinks into the ground as if it were water."""
    p = params.progress(t)
    size = layers.sprite.height
    pixels = np.array(layers.sprite)
    down = round(p * size * 1.05)
    base = round(size * (SPAN + 1.0) / (2 * SPAN))
    sunk = np.zeros_like(pixels)
    sunk[min(down, size) :] = pixels[: max(0, size - down)]
    sunk[base:, :, 3] = 0
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=1 + 0.3 * math.sin(math.pi * p), opacity=1 - smooth(4 * p - 3)))
    layers.stand(frame, sprite=Image.fromarray(sunk))
    return frame


GRAINS = (
    *family(
        "scatter",
        "transformation",
        {"to_the_left": (-1.0, 0.0), "to_the_right": (1.0, 0.0), "upwards": (0.0, -1.0)},
        "the subject falls into blocks that fly off {value}",
        "blocks",
        draw=_scatter,
    ),
    *family(
        "scatter",
        "transformation",
        {"inwards": None},
        "the subject is sucked into its own middle",
        "implode",
        draw=_implode,
    ),
    *family(
        "dissolve",
        "transformation",
        {name: name for name in ("from_above", "from_below", "from_the_middle", "from_the_edges")},
        "the subject turns to dust {value}",
        "dust",
        "particle",
        draw=_dissolve,
    ),
    *family(
        "erase",
        "transformation",
        {name: name for name in ("from_the_left", "from_the_right", "from_above", "from_below", "clockwise")},
        "the subject is wiped away {value}",
        "wipe",
        draw=_erase,
    ),
    *family(
        "leave",
        "transformation",
        {"into_the_ground": None},
        "the subject sinks into the ground",
        "sink",
        draw=_sink,
    ),
)
