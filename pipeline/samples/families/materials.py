"""The subject made of something else, from its base up; or under paint, from its top down."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from pipeline.samples.cutout import soft_ellipse
from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers
from pipeline.samples.transformations import climb

# From the sprite's greys in [0, 1], smooth noise in [0, 1] and the rows' and columns' places in [0, 1], all
# [size, size]: colours 0..255 [size, size, 3].
Material = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _between(low: tuple[int, int, int], high: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    start, end = np.array(low, np.float32), np.array(high, np.float32)
    return start + (end - start) * np.clip(share, 0, 1)[..., None]


def _marble(grey, noise, row, column):
    vein = 1 - np.clip(np.abs(np.sin(5 * column + 7 * noise + 3 * row)) * 4, 0, 1)
    return _between((214, 214, 210), (250, 250, 246), grey) - 110 * vein[..., None]


def _silver(grey, noise, row, column):
    bands = 0.5 + 0.5 * np.sin(26 * row + 5 * grey)
    return _between((62, 70, 84), (246, 250, 255), 0.3 * grey + 0.8 * bands * bands)


def _lava(grey, noise, row, column):
    crack = np.clip(1.35 - np.abs(noise - 0.5) * 13, 0, 1)
    return _between((30, 22, 24), (255, 128, 16), crack) + 60 * (crack > 0.9)[..., None]


def _moss(grey, noise, row, column):
    tuft = np.clip(2.2 * noise - 0.5, 0, 1)
    return _between((28, 62, 16), (140, 190, 60), 0.55 * tuft + 0.35 * grey)


def _candy(grey, noise, row, column):
    twist = np.sin(22 * (column - 0.5) + 22 * row) > 0
    return np.where(twist[..., None], (255, 250, 250), (232, 30, 66)) * (0.75 + 0.25 * grey[..., None])


def _zebra(grey, noise, row, column):
    band = np.sin(34 * row + 7 * noise) > 0.05
    return np.where(band[..., None], (246, 244, 238), (20, 18, 20)).astype(np.float32)


def _glass(grey, noise, row, column):
    return _between((150, 205, 215), (250, 255, 255), grey)


def _turn_to(layers: Layers, t: float, params: Params, material: Material) -> Image.Image:
    """The new material climbs the subject."""

    def made() -> Image.Image:
        sprite = layers.sprite
        size = sprite.width
        grey = np.asarray(sprite.convert("L"), np.float32) / 255
        rough = Image.fromarray(params.rng("material").random((16, 16), dtype=np.float32))
        noise = np.asarray(rough.resize((size, size), Image.Resampling.BICUBIC))
        row, column = np.mgrid[:size, :size].astype(np.float32) / size
        colours = np.clip(material(grey, noise, row, column), 0, 255).astype(np.uint8)
        alpha = np.asarray(sprite)[..., 3]
        return Image.fromarray(np.dstack([colours, _thinned(alpha) if material is _glass else alpha]))

    frame = layers.plate()
    layers.shadow(frame)
    climb(layers, frame, params.progress(t), layers.once("made", made))
    return frame


def _thinned(alpha: np.ndarray) -> np.ndarray:
    """See-through but for the rim."""
    width = max(1, len(alpha) // 20)
    inside = alpha > 127
    for axis in (0, 1):
        for step in (-width, width):
            inside = inside & np.roll(alpha > 127, step, axis)
    return np.where(inside, alpha // 4, alpha)


def _paint(layers: Layers, t: float, params: Params, colour: tuple[int, int, int]) -> Image.Image:
    """Paint runs down the subject in streaks and spreads on the ground."""
    p = params.progress(t) * 1.15

    def coat() -> tuple[Image.Image, np.ndarray]:
        sprite = layers.sprite
        size = sprite.width
        grey = np.asarray(sprite.convert("L"), np.float32) / 255
        shine = np.clip(0.72 + 0.4 * (grey - grey.mean()), 0.5, 1.1)[..., None]
        coated = np.clip(np.array(colour, np.float32) * shine, 0, 255).astype(np.uint8)
        streaks = Image.fromarray(params.rng("streaks").random((1, 9), dtype=np.float32))
        streaks = np.asarray(streaks.resize((size, 1), Image.Resampling.BICUBIC))
        order = np.linspace(0, 1, size, dtype=np.float32)[:, None] + 0.35 * (streaks - 0.5)
        return Image.fromarray(np.dstack([coated, np.asarray(sprite)[..., 3]])), order

    coated, order = layers.once("coat", coat)
    frame = layers.plate()
    layers.shadow(frame)
    spread = smooth((p - 0.45) / 0.6)
    if spread > 0.02:
        wide = 2.9 * spread * layers.radius * layers.near.zoom * layers.unit * params.strength
        size = (max(2, round(wide)), max(2, round(0.24 * wide)))
        pool = layers.once("pool", lambda: soft_ellipse(96).point(lambda value: min(255, 4 * value))).resize(
            size
        )
        x, y = layers.to_pixel(layers.centre[0], layers.ground)
        frame.paste(colour, (round(x - size[0] / 2), round(y - size[1] / 2)), pool)
    mask = Image.fromarray((255 * np.clip((p - order) * 12, 0, 1)).astype(np.uint8))
    layers.stand(frame, sprite=Image.composite(coated, layers.sprite, mask))
    return frame


MATERIALS = (
    *family(
        "turn_to",
        "transformation",
        {
            "marble": _marble,
            "silver": _silver,
            "lava": _lava,
            "moss": _moss,
            "candy": _candy,
            "zebra": _zebra,
            "glass": _glass,
        },
        "the subject turns to {value}",
        draw=_turn_to,
    ),
    *family(
        "paint",
        "transformation",
        {
            "crimson": (200, 16, 40),
            "amber": (255, 186, 10),
            "lime": (130, 224, 30),
            "cyan": (30, 208, 230),
            "indigo": (60, 30, 170),
            "ivory": (250, 246, 232),
            "pitch": (14, 12, 14),
        },
        "{value} paint runs down the subject",
        "coat",
        "dip",
        draw=_paint,
    ),
)
