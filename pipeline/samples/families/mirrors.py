"""The whole picture bent, mirrored or repeated."""

import math

import numpy as np
from PIL import Image

from pipeline.samples.effect import Params
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers
from pipeline.samples.lookup import Lookup

TAU = 2 * math.pi
BOX = Image.Resampling.BOX


def _bent(layers: Layers, x: np.ndarray, y: np.ndarray) -> Image.Image:
    """The picture whose point in the middle of every pixel is the old one's at world coordinates (x, y)."""
    scene = layers.of_picture("fine scene", lambda: Lookup(layers.still(), 1 if layers.picture else 4))
    column = x * np.float32(layers.unit) + np.float32(layers.width / 2)
    row = y * np.float32(layers.unit) + np.float32(layers.height / 2)
    return scene.at(column, row).convert("RGB")


def _distort(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Bulged, pinched or whirled about the middle; waved along one axis; squeezed from the sides."""
    p = np.float32(params.strength * params.progress(t))
    if p == 0:
        return layers.still()
    x, y = layers.world()
    square = layers.once("square", lambda: x * x + y * y)
    if way in ("in_a_bulge", "in_a_pinch"):
        near = np.exp(-square * np.float32(5.0 if way == "in_a_bulge" else 7.0))
        pull = 1 - np.float32(0.68) * p * near if way == "in_a_bulge" else 1 + np.float32(2.6) * p * near
        return _bent(layers, x * pull, y * pull)
    if way == "in_a_whirl":
        angle = np.float32(3.6 * params.direction) * p * np.maximum(1 - square * np.float32(2.0), 0) ** 2
        cos, sin = np.cos(angle), np.sin(angle)
        return _bent(layers, cos * x - sin * y, sin * x + cos * y)
    phase = np.float32(TAU * (2.5 * t + params.phase))
    if way == "in_level_waves":
        return _bent(layers, x + np.float32(0.1) * p * np.sin(y * np.float32(TAU * 2.6) + phase), y)
    return _bent(layers, x, y + np.float32(0.1) * p * np.sin(x * np.float32(TAU * 2.2) + phase))


def _mirror(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """A mirror pushes in from one side as far as the middle and shows the other half again."""
    p = params.progress(t)
    frame = layers.still()
    width, height = layers.width, layers.height
    if way in ("on_the_left", "on_the_right", "on_both_sides"):
        half = round(p * width / 2)
        if half and way == "on_the_right":
            frame.paste(
                _flipped(frame.crop((width - 2 * half, 0, width - half, height)), True), (width - half, 0)
            )
        elif half and way == "on_the_left":
            frame.paste(_flipped(frame.crop((half, 0, 2 * half, height)), True), (0, 0))
        return frame
    half = round(p * height / 2)
    if half and way == "below":
        frame.paste(
            _flipped(frame.crop((0, height - 2 * half, width, height - half)), False), (0, height - half)
        )
    elif half:
        frame.paste(_flipped(frame.crop((0, half, width, 2 * half)), False), (0, 0))
    return frame


def _flipped(picture: Image.Image, sideways: bool) -> Image.Image:
    turn = Image.Transpose.FLIP_LEFT_RIGHT if sideways else Image.Transpose.FLIP_TOP_BOTTOM
    return picture.transpose(turn)


def _repeat(layers: Layers, t: float, params: Params, grid: tuple[int, int]) -> Image.Image:
    """The picture shrinks towards a corner and stands there again and again, row by row."""
    p = params.progress(t)
    columns, rows = (1 + (count - 1) * p for count in grid)
    width, height = max(1, round(layers.width / columns)), max(1, round(layers.height / rows))
    if (width, height) == (layers.width, layers.height):
        return layers.still()
    small = layers.still().resize((width, height), BOX)
    frame = Image.new("RGB", (layers.width, layers.height))
    for left in range(0, layers.width, width):
        for top in range(0, layers.height, height):
            frame.paste(small, (left, top))
    return frame


def _slide(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """The picture is cut into bands that run past each other and around its edges."""
    p = params.progress(t) * params.strength
    frame = layers.still()
    pixels = np.asarray(frame)
    if way == "in_level_bands":
        shifts = [round(0.75 * p * layers.width) * (1 if k % 2 else -1) for k in range(4)]
        bands = np.array_split(pixels, 4, axis=0)
        return Image.fromarray(
            np.concatenate([np.roll(b, s, 1) for b, s in zip(bands, shifts, strict=True)], 0)
        )
    shifts = [round(0.75 * p * layers.height) * (1 if k % 2 else -1) for k in range(6)]
    bands = np.array_split(pixels, 6, axis=1)
    return Image.fromarray(np.concatenate([np.roll(b, s, 0) for b, s in zip(bands, shifts, strict=True)], 1))


MIRRORS = (
    *family(
        "distort",
        "style",
        {
            name: name
            for name in ("in_a_bulge", "in_a_pinch", "in_a_whirl", "in_level_waves", "in_upright_waves")
        },
        "the picture is bent {value}",
        "warp",
        "bent",
        draw=_distort,
    ),
    *family(
        "mirror",
        "style",
        {name: name for name in ("on_the_left", "on_the_right", "above", "below")},
        "a mirror pushes in {value}",
        "mirrored",
        "reflection",
        draw=_mirror,
    ),
    *family(
        "repeat",
        "style",
        {"two_by_two": (2, 2), "three_by_three": (3, 3), "side_by_side": (3, 1), "stacked": (1, 3)},
        "the picture stands there many times, {value}",
        "repeated",
        draw=_repeat,
    ),
    *family(
        "shift",
        "style",
        {name: name for name in ("in_level_bands", "in_upright_bands")},
        "the picture is cut {value} that run past each other",
        draw=_slide,
    ),
)
