"""What falls, flies and drifts through the picture: sheets of particles, drawn once and scrolled."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from pipeline.samples.cutout import darkened, dimmed
from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers

TAU = 2 * math.pi
Colour = tuple[int, int, int]
# Draws one particle with a pen at (x, y) pixels, `size` pixels across; the dice are three numbers in [0, 1).
Particle = Callable[[ImageDraw.ImageDraw, float, float, float, np.ndarray], None]


def _sheet(
    layers: Layers, params: Params, particle: Particle, count: int, size: float, name: str
) -> Image.Image:
    """An RGBA picture of the frame's size that can be scrolled around its edges."""
    sheet = Image.new("RGBA", (layers.width, layers.height))
    pen = ImageDraw.Draw(sheet)
    wide, tall = layers.extent
    for dice in params.rng(name).random((round(count * wide * tall), 6)):
        x, y = dice[0] * layers.width, dice[1] * layers.height
        across = size * (0.7 + 0.6 * dice[2]) * layers.unit
        # Again at the opposite edges, where it reaches over them.
        for right in (-layers.width, 0, layers.width):
            for down in (-layers.height, 0, layers.height):
                if (
                    -across < x + right < layers.width + across
                    and -across < y + down < layers.height + across
                ):
                    particle(pen, x + right, y + down, across, dice[3:])
    return sheet


def _scrolled(
    layers: Layers, frame: Image.Image, sheet: Image.Image, x: float, y: float, share: float, name: str
) -> None:
    """Put the sheet of that name moved by (x, y) world units before the frame, as dense as `share`."""
    if share < 1:
        sheet = layers.once(f"{name} {share}", lambda: _thinned(sheet, share))
    moved = ImageChops.offset(sheet, round(x * layers.unit), round(y * layers.unit))
    frame.paste(moved, (0, 0), moved)


def _thinned(sheet: Image.Image, share: float) -> Image.Image:
    sheet = sheet.copy()
    sheet.putalpha(dimmed(sheet.getchannel("A"), share))
    return sheet


def _drop(slant: float, colour: Colour, length: float) -> Particle:
    """A streak that falls along (slant, 1)."""
    size = math.hypot(slant, 1)

    def draw(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
        dx, dy = slant / size * across * length, across * length / size
        pen.line((x, y, x + dx, y + dy), fill=(*colour, 215), width=max(1, round(0.24 * across)))

    return draw


def _dot(colour: Colour, alpha: int = 255) -> Particle:
    def draw(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
        half = across / 2
        pen.ellipse((x - half, y - half, x + half, y + half), fill=(*colour, alpha))

    return draw


def _bubble(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
    half = across / 2
    width = max(1, round(0.12 * across))
    pen.ellipse(
        (x - half, y - half, x + half, y + half),
        fill=(190, 230, 255, 70),
        outline=(240, 252, 255, 235),
        width=width,
    )
    pen.ellipse((x - 0.5 * half, y - 0.6 * half, x - 0.1 * half, y - 0.2 * half), fill=(255, 255, 255, 235))


def _scrap(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
    colours = ((235, 40, 70), (255, 205, 30), (50, 190, 90), (40, 120, 240), (200, 70, 220), (255, 130, 30))
    angle, half = TAU * dice[1], across / 2
    corners = [
        (x + half * math.cos(angle + k) * (1 if i % 2 else 0.8), y + half * math.sin(angle + k))
        for i, k in enumerate((0.5, 2.6, 3.64, 5.78))
    ]
    pen.polygon(corners, fill=(*colours[int(dice[0] * 6)], 255))


def _leaf(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
    colour = ((196, 92, 24), (160, 60, 20), (222, 150, 30), (120, 70, 30))[int(dice[0] * 4)]
    angle, half = TAU * dice[1], across / 2
    cos, sin = math.cos(angle) * half, math.sin(angle) * half
    pen.polygon(
        (
            (x - cos, y - sin),
            (x - 0.5 * sin, y + 0.5 * cos),
            (x + cos, y + sin),
            (x + 0.5 * sin, y - 0.5 * cos),
        ),
        fill=(*colour, 255),
    )


def _petal(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
    wide, tall = across / 2, across / 2 * (0.35 + 0.4 * dice[1])
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=(255, 168 + round(40 * dice[0]), 205, 250))


def _coin(pen: ImageDraw.ImageDraw, x: float, y: float, across: float, dice: np.ndarray) -> None:
    wide, tall = across / 2 * (0.25 + 0.75 * dice[0]), across / 2
    pen.ellipse(
        (x - wide, y - tall, x + wide, y + tall), fill=(255, 205, 40, 255), outline=(170, 110, 0, 255)
    )


# Each: what one particle is, how many to a square unit, how large, how far a sheet scrolls in a clip (x, y).
SHOWERS: dict[str, tuple[Particle, int, float, tuple[float, float]]] = {
    "confetti": (_scrap, 60, 0.06, (0.15, 1.6)),
    "petals": (_petal, 26, 0.09, (-0.9, 0.8)),
    "dead_leaves": (_leaf, 22, 0.14, (0.5, 1.2)),
    "bubbles": (_bubble, 16, 0.16, (0.1, -1.3)),
    "embers": (_dot((255, 120, 20)), 60, 0.03, (0.3, -1.7)),
    "coins": (_coin, 18, 0.13, (0.0, 3.2)),
    "fireflies": (_dot((225, 255, 90)), 22, 0.045, (0.25, -0.12)),
}
# Each: its particle, count, size, scroll, and the veil that everything disappears in (colour, share).
SKIES: dict[str, tuple[Particle, int, float, tuple[float, float], Colour, float]] = {
    "snow_to_the_left": (_drop(-2.0, (255, 255, 255), 1.7), 60, 0.1, (-3.2, 1.6), (228, 236, 246), 0.5),
    "snow_to_the_right": (_drop(2.0, (255, 255, 255), 1.7), 60, 0.1, (3.2, 1.6), (228, 236, 246), 0.5),
    "rain": (_drop(0.0, (200, 215, 240), 2.2), 50, 0.1, (0.0, 5.0), (60, 70, 92), 0.42),
    "rain_to_the_left": (_drop(-1.0, (200, 215, 240), 2.4), 50, 0.11, (-3.4, 3.4), (60, 70, 92), 0.42),
    "rain_to_the_right": (_drop(1.0, (200, 215, 240), 2.4), 50, 0.11, (3.4, 3.4), (60, 70, 92), 0.42),
    "hail": (_dot((244, 248, 255)), 16, 0.1, (0.4, 6.0), (150, 160, 175), 0.25),
    "sandstorm": (_drop(9.0, (226, 176, 96), 1.6), 60, 0.1, (7.0, 0.4), (206, 152, 78), 0.68),
}


def _shower(layers: Layers, t: float, params: Params, what: str) -> Image.Image:
    particle, count, size, scroll = SHOWERS[what]
    share = smooth((t - params.onset) / 0.3)
    frame = layers.still()
    if share == 0:
        return frame
    if what == "fireflies":
        frame = darkened(frame, 1 - 0.5 * share)
        share *= 0.55 + 0.45 * math.sin(TAU * 4 * t)
    for name, pace in (("near", 1.0), ("far", 0.62)):
        sheet = layers.once(
            name, lambda n=name, k=pace: _sheet(layers, params, particle, count // 2, size * k, n)
        )
        sway = 0.05 * math.sin(TAU * (1.5 * t + pace))
        _scrolled(layers, frame, sheet, scroll[0] * pace * t + sway, scroll[1] * pace * t, share, name)
    return frame


def _weather(layers: Layers, t: float, params: Params, what: str) -> Image.Image:
    particle, count, size, scroll, veil, thickness = SKIES[what]
    share = smooth((t - params.onset) / 0.3)
    plain = layers.once("veil", lambda: Image.new("RGB", (layers.width, layers.height), veil))
    frame = Image.blend(layers.still(), plain, thickness * params.progress(1.3 * t))
    if share == 0:
        return frame
    for name, pace in (("near", 1.0), ("far", 0.7)):
        sheet = layers.once(
            name, lambda n=name, k=pace: _sheet(layers, params, particle, count // 2, size * k, n)
        )
        x, y = scroll[0] * pace * t + params.phase, scroll[1] * pace * t
        _scrolled(layers, frame, sheet, x, y, share * params.strength, name)
    return frame


def _fog(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Banks of fog roll in until little can be seen; or clouds darken the picture and lightning strikes."""
    p = params.progress(t)
    wide, tall = layers.extent

    def banks() -> np.ndarray:
        cells = (round(5 * tall) + 1, round(4 * wide) + 1)
        coarse = Image.fromarray(params.rng("fog").random(cells, dtype=np.float32))
        rough = coarse.resize((2 * layers.width, layers.height), Image.Resampling.BICUBIC)
        return np.clip(np.asarray(rough), 0, 1)

    rough = layers.once("banks", banks)
    start = round((0.5 + 0.5 * params.direction * (t - 0.5)) * layers.width)
    shown = rough[:, start : start + layers.width]
    frame = layers.still()
    if way == "fog":
        _, y = layers.world()
        reach = np.clip(2.6 * p - 1.1 + 0.8 * shown + 0.5 * y / tall, 0, 0.93)
        frame.paste((220, 224, 228), (0, 0), Image.fromarray((255 * reach).astype(np.uint8)))
        return frame
    dark = Image.fromarray((255 * np.clip(p * (0.62 + 0.3 * shown), 0, 1)).astype(np.uint8))
    frame.paste((12, 14, 34), (0, 0), dark)
    age = (3.2 * max(0.0, t - 0.18)) % 1
    if t > 0.18 and age < 0.2:
        light = (1 - age / 0.2) * 0.8
        frame = Image.blend(frame, layers.still().point(lambda k: min(255, round(1.2 * k + 60))), light)
        strike = int(3.2 * (t - 0.18))
        rng = params.rng(f"strike {strike}")
        x = rng.uniform(-0.45, 0.45) * wide
        points = []
        for k in range(8):
            points.append(((x + wide / 2) * layers.unit, (k / 7) * 0.75 * layers.height))
            x += rng.uniform(-0.12, 0.12)
        ImageDraw.Draw(frame).line(points, fill=(255, 255, 225), width=max(1, round(0.03 * layers.unit)))
    return frame


WEATHER = (
    *family("weather", "style", {name: name for name in SKIES}, "{value}", "storm", draw=_weather),
    *family("weather", "style", {"fog": "fog"}, "fog rolls in", "mist", draw=_fog),
    *family("weather", "style", {"thunder": "thunder"}, "the sky darkens and lightning strikes", draw=_fog),
    *family("shower_of", "style", {name: name for name in SHOWERS}, "a shower of {value}", draw=_shower),
)
