"""Light and dark: lamps from a side, beams that wander, and curtains that close."""

import math
from colorsys import hsv_to_rgb

import numpy as np
from PIL import Image, ImageChops

from pipeline.samples.cutout import darkened
from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers

TAU = 2 * math.pi


def _lit(picture: Image.Image, share: float, light: Image.Image) -> Image.Image:
    """The picture under a light (RGB: 128 leaves a colour as it is), blended in by `share`."""
    shown = ImageChops.multiply(picture, light)
    return Image.blend(picture, ImageChops.add(shown, shown), share)


def _light(layers: Layers, t: float, params: Params, way: tuple[float, float]) -> Image.Image:
    """A warm lamp comes on at one side; the other side sinks into blue dark."""

    def lamp() -> Image.Image:
        x, y = layers.world()
        wide, tall = layers.extent
        near = np.clip(0.5 + 0.62 * (x / wide * 2 * way[0] + y / tall * 2 * way[1]) / 1.0, 0, 1)
        colours = np.array([18, 22, 52]) + near[..., None] * np.array([222, 170, 60])
        return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))

    return _lit(layers.still(), params.progress(t), layers.once("lamp", lamp))


def _beam(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """A round beam runs over the dark picture; or a cone of light falls on the subject from above."""
    ramp = smooth((t - params.onset) / 0.15)
    wide, tall = layers.extent
    x, y = layers.world()
    if way == "beam":
        angle = TAU * (1.2 * params.direction * t + params.phase)
        far = np.hypot(x - 0.32 * wide * math.sin(angle), y - 0.22 * tall * math.sin(1.7 * angle))
        bright = np.clip((0.27 - far) * 14, 0, 1)
    else:
        spread = 0.1 + 0.42 * (y + tall / 2) / tall
        bright = np.clip((spread - np.abs(x - layers.centre[0])) * 12, 0, 1)
    light = Image.fromarray((14 + 150 * bright).astype(np.uint8))
    return _lit(layers.still(), ramp, Image.merge("RGB", (light, light, light)))


def _disco(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Loud lights that change colour at every beat, each quarter of the picture its own."""
    ramp = smooth((t - params.onset) / 0.1)
    beat = int(max(0.0, t - params.onset) * 9)
    rng = params.rng(f"beat {beat}")
    order = rng.permutation(6)[:4]
    small = Image.new("RGB", (2, 2))
    for k in range(4):
        colour = hsv_to_rgb(order[k] / 6, 0.9, 1.0)
        small.putpixel((k % 2, k // 2), tuple(round(150 * c + 10) for c in colour))
    light = small.resize((layers.width, layers.height), Image.Resampling.BILINEAR)
    return _lit(layers.still(), ramp, light)


def _whiteout(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Brighter and brighter until almost everything is white."""
    white = layers.once("white", lambda: Image.new("RGB", (layers.width, layers.height), (255, 255, 250)))
    return Image.blend(layers.still(), white, 0.95 * params.progress(t))


def _rays(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Sunbeams fan out from an upper corner and turn."""
    p = params.progress(1.3 * t)
    x, y = layers.world()
    wide, tall = layers.extent
    from_x = params.direction * wide / 2

    def angles() -> np.ndarray:
        return np.arctan2(y + tall / 2 + 0.05, (x - from_x) * params.direction)

    fan = layers.once("fan", angles)
    stripes = np.clip(np.sin(fan * 16 + 5 * t) * 2, 0, 1)
    mask = Image.fromarray((175 * p * stripes).astype(np.uint8))
    frame = darkened(layers.still(), 1 - 0.35 * p)
    frame.paste((255, 236, 160), (0, 0), mask)
    return frame


def _curtain(layers: Layers, t: float, params: Params, way: str) -> Image.Image:
    """Red velvet closes over the picture; a gap remains."""
    p = 0.86 * smooth((t - params.onset) / (params.finish - params.onset))
    width, height = layers.width, layers.height

    def velvet() -> Image.Image:
        x, y = layers.world()
        folds = 0.68 + 0.32 * np.sin(x * 34) + 0 * y
        return Image.fromarray((folds[..., None] * np.array([168, 16, 34])).clip(0, 255).astype(np.uint8))

    cloth = layers.once("velvet", velvet)
    frame = layers.still()
    boxes = {
        "from_the_sides": [(0, 0, width * p / 2, height), (width * (1 - p / 2), 0, width, height)],
        "from_above": [(0, 0, width, height * p)],
        "from_below": [(0, height * (1 - p), width, height)],
        "from_the_left": [(0, 0, width * p, height)],
        "from_the_right": [(width * (1 - p), 0, width, height)],
        "in_slats": [(0, height * k / 5, width, height * (k + p) / 5) for k in range(5)],
        "in_squares": [
            (width * k / 6, height * j / 4, width * (k + p) / 6, height * (j + p) / 4)
            for k in range(6)
            for j in range(4)
        ],
    }[way]
    for box in boxes:
        left, top, right, bottom = (round(edge) for edge in box)
        if right > left and bottom > top:
            frame.paste(cloth.crop((left, top, right, bottom)), (left, top))
    return frame


LIGHTS = (
    *family(
        "light",
        "style",
        {
            "from_the_left": (-1.0, 0.0),
            "from_the_right": (1.0, 0.0),
            "from_above": (0.0, -1.0),
            "from_below": (0.0, 1.0),
        },
        "a warm lamp comes on {value}",
        "lantern",
        "lit",
        draw=_light,
    ),
    *family(
        "light",
        "style",
        {"beam": "beam", "cone": "cone"},
        "a {value} of light in the dark",
        "searchlight",
        "spotlight",
        draw=_beam,
    ),
    *family("light", "style", {"disco": None}, "coloured lights change at every beat", draw=_disco),
    *family("light", "style", {"rays": None}, "sunbeams fan out from a corner", "sunbeam", draw=_rays),
    *family("light", "style", {"whiteout": None}, "everything becomes white", "overexposed", draw=_whiteout),
    *family(
        "curtain",
        "style",
        {
            name: name
            for name in (
                "from_the_sides",
                "from_above",
                "from_below",
                "from_the_left",
                "from_the_right",
                "in_slats",
                "in_squares",
            )
        },
        "red velvet closes over the picture {value}",
        "velvet",
        "close",
        draw=_curtain,
    ),
)
