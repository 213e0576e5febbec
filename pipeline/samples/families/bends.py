"""Bends of the subject: swollen, melted, bowed, waved, cut into bands; camera and background stay."""

import math

import numpy as np
from PIL import Image

from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers, Pose, Warp
from pipeline.samples.transformations import drips

TAU = 2 * math.pi
OUTSIDE = np.float32(9.0)  # a coordinate where no sprite is
Region = tuple[float, float, float, float]


def _bent(layers: Layers, region: Region, warp: Warp, shadow: Pose | None = None) -> Image.Image:
    frame = layers.plate()
    layers.shadow(frame, shadow)
    layers.warp(frame, region, warp)
    return frame


def _swell(layers: Layers, t: float, params: Params, where: tuple[float, float]) -> Image.Image:
    """One side of the subject swells up like a bubble; the rest stays as it is."""
    push = np.float32(0.78 * params.strength * params.progress(t))
    x, y = np.float32(where[0]), np.float32(where[1])

    def swell(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        du, dv = u - x, v - y
        near = np.maximum(1 - (du * du + dv * dv) / np.float32(2.2), 0)
        pull = 1 - push * near * near
        return x + du * pull, y + dv * pull

    return _bent(layers, (-2.0, -2.0, 2.0, 2.0), swell)


def _melt(layers: Layers, t: float, params: Params, way: tuple[float, float]) -> Image.Image:
    """Runs off that way in drips of different lengths and piles up against the side where it ends."""
    p = params.progress(t)
    waves = layers.once("drips", lambda: drips(params))
    body = 1 - 0.72 * p * params.strength
    x, y = (np.float32(k) for k in way)

    def sag(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One of x and y is 0: what varies along one axis only is computed along one axis only.
        down, across = (u * x, v * x) if x else (v * y, u * y)
        drips = sum(a * np.sin(k * across + s) for k, s, a in waves) / 2.4
        height = (1 - down) / (body * (1 + 0.55 * drips * math.sin(0.88 * math.pi * p)))
        low = np.clip((down + 0.3) / 1.3, 0, 1)
        spread = 1 + 0.9 * p * low * low
        across, down = (across + 0.08 * p * drips) / spread, 1 - height - 0.18 * p * low
        return (down * x, across * x) if x else (across * y, down * y)

    region = (-1.4, -1.9, 1.4, 1.9) if way[0] else (-2.0, -1.3, 2.0, 1.3)
    return _bent(layers, region, sag, Pose(stretch_x=1 + 0.2 * p, opacity=1 - 0.5 * p))


def _bend(layers: Layers, t: float, params: Params, way: float) -> Image.Image:
    """Bows over to one side, base fixed, the top furthest."""
    p = np.float32(way * 1.5 * params.strength * params.progress(t))

    def bow(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        free = np.maximum((1 - v) / 2, 0)
        return u - p * free * free, v - np.float32(0.2) * np.abs(p) * free

    return _bent(layers, (-2.4, -1.4, 2.4, 1.2), bow)


def _wave(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Waves through the body: a flag's, an accordion's folds, or a screw's winding."""
    p = smooth((t - params.onset) / 0.15) if way == "like_a_flag" else params.progress(t)
    p *= params.strength
    start = np.float32(TAU * 3 * (t - params.onset) * params.direction)

    def flag(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return u + 0 * v, v - np.float32(0.3 * p) * np.sin(np.float32(3.4) * u - start)

    def folds(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        teeth = np.abs((v * np.float32(2.2)) % 2 - 1) - np.float32(0.5)
        return u + np.float32(1.1 * p) * teeth, v + 0 * u

    def screw(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slim = np.cos(np.float32(5.2 * p) * (1 - v) / 2)
        slim = np.where(np.abs(slim) < 0.12, np.copysign(np.float32(0.12), slim), slim)
        return u / slim, v + 0 * u

    bend = {"like_a_flag": flag, "in_folds": folds, "like_a_screw": screw}[way]
    return _bent(layers, (-1.9, -1.6, 1.9, 1.6), bend)


def _slice(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Cut into six upright or slanting bands that slide apart along the cuts in turn."""
    shift = np.float32(0.8 * params.strength * params.progress(t) * params.direction)

    def upright(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        side = np.where(np.floor((u + 1.2) * 2.5) % 2 > 0, np.float32(1), np.float32(-1))
        return u + 0 * v, v + side * shift

    def aslant(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        side = np.where(np.floor((u + v + 2.4) * 1.8) % 2 > 0, np.float32(0.8), np.float32(-0.8))
        return u + side * shift, v - side * shift

    region = (-1.3, -2.1, 1.3, 2.1) if way == "upright" else (-2.0, -2.0, 2.0, 2.0)
    return _bent(layers, region, upright if way == "upright" else aslant)


def _split(layers: Layers, t: float, params: Params, ways: tuple[float, float]) -> Image.Image:
    """Cut clean through the middle; the halves, or the quarters, draw apart."""
    p = 0.75 * params.strength * params.progress(t)
    gap_x, gap_y = (np.float32(p * way) for way in ways)

    def part(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gone = (np.abs(u) < gap_x) | (np.abs(v) < gap_y)
        return np.where(gone, OUTSIDE, u - np.sign(u) * gap_x), v - np.sign(v) * gap_y + 0 * u

    return _bent(layers, (-2.1, -2.1, 2.1, 2.1), part, Pose(stretch_x=1 + 0.6 * float(gap_x)))


BENDS = (
    *family(
        "swell",
        "transformation",
        {"at_the_top": (0.0, -0.7), "at_the_left": (-0.75, 0.0), "at_the_right": (0.75, 0.0)},
        "the subject swells {value}",
        "bubble",
        "bulge",
        draw=_swell,
    ),
    *family(
        "melt",
        "transformation",
        {"upwards": (0.0, -1.0), "to_the_left": (-1.0, 0.0), "to_the_right": (1.0, 0.0)},
        "the subject melts {value}",
        "drip",
        draw=_melt,
    ),
    *family(
        "bend",
        "transformation",
        {"to_the_left": -1.0, "to_the_right": 1.0},
        "the subject bows {value}",
        "bow",
        "lean",
        draw=_bend,
    ),
    *family(
        "wave",
        "transformation",
        {name: name for name in ("like_a_flag", "in_folds", "like_a_screw")},
        "the subject is waved {value}",
        "twist",
        "accordion",
        draw=_wave,
    ),
    *family(
        "slice",
        "transformation",
        {name: name for name in ("upright", "aslant")},
        "the subject is cut into bands that slide apart, {value}",
        "cut",
        draw=_slice,
    ),
    *family(
        "split",
        "transformation",
        {"sideways": (1.0, 0.0), "up_and_down": (0.0, 1.0), "in_quarters": (0.8, 0.8)},
        "the subject is split {value}",
        "cut",
        "halves",
        draw=_split,
    ),
)
