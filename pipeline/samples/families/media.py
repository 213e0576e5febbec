"""The picture as another medium would show it: printed, cut, stitched, filmed, seen through an instrument."""

import math

import numpy as np
from PIL import Image, ImageDraw

from pipeline.samples.effect import Params
from pipeline.samples.families.family import family
from pipeline.samples.families.tints import duotone
from pipeline.samples.layers import Layers

TAU = 2 * math.pi
BOX, NEAREST = Image.Resampling.BOX, Image.Resampling.NEAREST


def _grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), np.float32) / 255


def _painted(mask: np.ndarray, off: tuple[int, int, int], on: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.where(mask[..., None], np.array(on, np.uint8), np.array(off, np.uint8)))


def _dots(layers: Layers, picture: Image.Image) -> Image.Image:
    """Newsprint: black dots on paper, larger where it is dark."""

    def screen() -> np.ndarray:
        x, y = layers.world()
        a, b = (x + y) * 0.7071, (x - y) * 0.7071
        return (0.5 + 0.25 * (np.cos(TAU * a / 0.075) + np.cos(TAU * b / 0.075))).astype(np.float32)

    grey = np.clip(1.3 * _grey(picture) - 0.1, 0.05, 0.95)
    return _painted(grey < layers.once("screen", screen), (246, 240, 222), (24, 22, 26))


def _hatching(layers: Layers, picture: Image.Image) -> Image.Image:
    """Pen strokes, the more directions the darker."""

    def strokes() -> list[np.ndarray]:
        x, y = layers.world()
        ways = ((1, 1), (1, -1), (0.0, 1.4))
        return [
            np.broadcast_to((a * x + b * y) / 0.085 % 1 < 0.42, (layers.height, layers.width))
            for a, b in ways
        ]

    grey = _grey(picture)
    first, second, third = layers.once("strokes", strokes)
    ink = (first & (grey < 0.75)) | (second & (grey < 0.52)) | (third & (grey < 0.3))
    return _painted(ink, (250, 247, 236), (40, 36, 110))


def _glass(layers: Layers, picture: Image.Image) -> Image.Image:
    """Panes of one colour each between leads."""

    def panes() -> tuple[np.ndarray, np.ndarray, int]:
        wide, tall = layers.extent
        rng = np.random.default_rng(7)
        columns, rows = round(8 * wide), round(8 * tall)
        x, y = layers.world()
        best = np.full((layers.height, layers.width), 1e9, np.float32)
        second, owner = best.copy(), np.zeros(best.shape, np.int32)
        for k in range(columns * rows):
            cx = ((k % columns + rng.uniform(0.1, 0.9)) / columns - 0.5) * wide
            cy = ((k // columns + rng.uniform(0.1, 0.9)) / rows - 0.5) * tall
            away = (x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2
            nearer = away < best
            second = np.where(nearer, best, np.minimum(second, away))
            owner, best = np.where(nearer, k, owner), np.where(nearer, away, best)
        return owner, np.sqrt(second) - np.sqrt(best) < 0.022, columns * rows

    owner, lead, count = layers.once("panes", panes)
    flat = owner.ravel()
    total = np.maximum(np.bincount(flat, minlength=count), 1)
    pixels = np.asarray(picture, np.float32)
    means = [np.bincount(flat, pixels[..., band].ravel(), minlength=count) / total for band in range(3)]
    colours = np.stack(means, -1)
    grey = colours.mean(-1, keepdims=True)
    loud = np.clip(grey + 1.8 * (colours - grey) + 12, 0, 255).astype(np.uint8)[owner]
    loud[lead] = 18
    return Image.fromarray(loud)


def _relief(layers: Layers, picture: Image.Image) -> Image.Image:
    """Stamped into grey clay, lit from the upper left."""
    grey = _grey(picture)
    step = max(1, round(0.022 * layers.unit))
    slope = np.roll(grey, step, (0, 1)) - np.roll(grey, -step, (0, 1))
    clay = np.clip(150 - 230 * slope, 0, 255).astype(np.uint8)
    return Image.merge("RGB", (Image.fromarray(clay),) * 3)


def _blueprint(layers: Layers, picture: Image.Image) -> Image.Image:
    """White lines and a grid on blue."""
    grey = _grey(picture)
    step = max(1, round(0.014 * layers.unit))
    lines = np.abs(np.roll(grey, step, 1) - np.roll(grey, -step, 1)) + np.abs(
        np.roll(grey, step, 0) - np.roll(grey, -step, 0)
    )

    def grid() -> np.ndarray:
        x, y = layers.world()
        width = 1.2 / layers.unit
        return 0.25 * (((x + 4) % 0.2 < width) | ((y + 4) % 0.2 < width)).astype(np.float32)

    share = np.clip(2.6 * lines - 0.1 + layers.once("grid", grid), 0, 1)[..., None]
    blue = np.array([16, 52, 140], np.float32)
    return Image.fromarray((blue + (245 - blue) * share).astype(np.uint8))


def _night(layers: Layers, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Green, noisy and dark towards the corners, as through an image intensifier."""

    def eyepiece() -> np.ndarray:
        x, y = layers.world()
        return np.clip(1.25 - 1.3 * (x * x + y * y), 0.05, 1).astype(np.float32)

    grain = rng.random((layers.height, layers.width), dtype=np.float32)
    light = np.clip((1.1 * _grey(picture) + 0.3 * (grain - 0.5)) * layers.once("eyepiece", eyepiece), 0, 1)
    return Image.fromarray((light[..., None] * np.array([60, 255, 90], np.float32)).astype(np.uint8))


def _film(layers: Layers, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """An old film: brown, flickering, scratched, unsteady."""
    brown = duotone(picture, 1.0, ((28, 18, 10), (228, 208, 168)))
    down = round(rng.uniform(-0.025, 0.025) * layers.unit)
    shaken = Image.new("RGB", brown.size, (20, 14, 10))
    shaken.paste(brown, (0, down))
    pen = ImageDraw.Draw(shaken)
    for x in rng.uniform(0, layers.width, 3):
        pen.line((x, 0, x, layers.height), fill=(240, 228, 200), width=max(1, round(0.012 * layers.unit)))
    for x, y, size in rng.random((4, 3)):
        half = (0.008 + 0.02 * size) * layers.unit
        middle = (x * layers.width, y * layers.height)
        pen.ellipse(
            (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half), fill=(20, 14, 8)
        )
    return Image.blend(Image.new("RGB", brown.size), shaken, rng.uniform(0.72, 1.0))


def _stitches(layers: Layers, picture: Image.Image) -> Image.Image:
    """Cross-stitched on cloth: a cross of one colour in every square."""
    wide, tall = layers.extent
    size = (max(1, round(20 * wide)), max(1, round(20 * tall)))
    blocks = picture.resize(size, BOX).resize(picture.size, NEAREST)

    def thread() -> np.ndarray:
        columns = (np.arange(layers.width) + 0.5) / layers.width * size[0] % 1 - 0.5
        rows = (np.arange(layers.height) + 0.5) / layers.height * size[1] % 1 - 0.5
        a, b = np.abs(columns[None, :]), np.abs(rows[:, None])
        return (np.abs(a - b) < 0.24).astype(np.float32)[..., None]

    cross = layers.once("thread", thread)
    return Image.fromarray((np.asarray(blocks) * cross + 236 * (1 - cross)).astype(np.uint8))


def _stencil(layers: Layers, picture: Image.Image) -> Image.Image:
    """Three flat layers of cut paper: black, red, cream."""
    level = np.asarray(picture.convert("L"))
    table = np.zeros((256, 3), np.uint8)
    table[:105], table[105:165], table[165:] = (22, 18, 24), (206, 40, 36), (248, 236, 206)
    return Image.fromarray(table[level])


def _x_ray(layers: Layers, picture: Image.Image) -> Image.Image:
    """Pale blue where it was dark, black where it was light."""
    return duotone(picture, 1.0, ((205, 235, 255), (0, 6, 22)))


MEDIA_BY_NAME = {
    "newsprint": _dots,
    "hatching": _hatching,
    "stained_glass": _glass,
    "a_relief": _relief,
    "a_blueprint": _blueprint,
    "stitches": _stitches,
    "a_stencil": _stencil,
    "an_x_ray": _x_ray,
}
MOVING_MEDIA = {"night_vision": _night, "old_film": _film}


def _shown(layers: Layers, t: float, params: Params, medium) -> Image.Image:
    """The medium fades in over the picture."""
    share = params.progress(t)
    if share == 0:
        return layers.still()
    shown = layers.of_picture("shown", lambda: medium(layers, layers.still()))
    return Image.blend(layers.still(), shown, share)


def _shown_moving(layers: Layers, t: float, params: Params, medium) -> Image.Image:
    """A medium that is restless: another noise, another scratch in every sixteenth of the clip."""
    share = params.progress(1.2 * t)
    if share == 0:
        return layers.still()
    picture = layers.still()
    return Image.blend(picture, medium(layers, picture, params.rng(f"frame {int(t * 24)}")), share)


MEDIA = (
    *family("show_as", "style", MEDIA_BY_NAME, "the picture becomes {value}", draw=_shown),
    *family("show_as", "style", MOVING_MEDIA, "the picture becomes {value}", draw=_shown_moving),
)
