"""A picture with transparent surroundings that is pasted into frames, moved, scaled, turned and faded."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image

BILINEAR = Image.Resampling.BILINEAR
AFFINE = Image.Transform.AFFINE
_VALUES = np.arange(256)


class Cutout:
    """An RGBA picture, prepared once for being placed often.

    Pillow's transforms premultiply the alpha at every call and would alias what they shrink: here are the
    premultiplied picture and its halves, each made when it is first needed.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._halves = [image]
        self._ready: dict[int, Image.Image] = {}
        self._last: tuple[tuple, tuple[Image.Image, tuple[int, int]] | None] | None = None

    @property
    def width(self) -> int:
        return self.image.width

    def place(
        self,
        frame: Image.Image,
        middle: tuple[float, float],
        scale: tuple[float, float],
        turn: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Paste it around the pixel `middle`, scaled (negative mirrors) and turned (radians)."""
        key = (middle, scale, turn, opacity, frame.size)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._shown(*key))
        if self._last[1] is not None:
            shown, corner = self._last[1]
            # Pillow pastes what is premultiplied into RGB only.
            shown = shown if frame.mode == "RGB" else shown.convert("RGBA")
            frame.paste(shown, corner, shown)

    def _shown(
        self,
        middle: tuple[float, float],
        scale: tuple[float, float],
        turn: float,
        opacity: float,
        size: tuple[int, int],
    ) -> tuple[Image.Image, tuple[int, int]] | None:
        """What is pasted, premultiplied, and where; None where nothing of it is in the frame."""
        level = 0
        picture = self.image
        while min(abs(scale[0]), abs(scale[1])) < 0.5 and min(picture.size) > 8:
            level += 1
            halved = self._half(level)
            scale = (scale[0] * picture.width / halved.width, scale[1] * picture.height / halved.height)
            picture = halved
            if min(abs(scale[0]), abs(scale[1])) < 0.02:
                return None
        cos, sin = math.cos(turn), math.sin(turn)
        half_x, half_y = abs(scale[0]) * picture.width / 2, abs(scale[1]) * picture.height / 2
        reach_x = abs(cos) * half_x + abs(sin) * half_y
        reach_y = abs(sin) * half_x + abs(cos) * half_y
        left = max(0, math.floor(middle[0] - reach_x))
        top = max(0, math.floor(middle[1] - reach_y))
        right = min(size[0], math.ceil(middle[0] + reach_x))
        bottom = min(size[1], math.ceil(middle[1] + reach_y))
        if right <= left or bottom <= top:
            return None
        a, b = cos / scale[0], sin / scale[0]
        d, e = -sin / scale[1], cos / scale[1]
        dx, dy = left - middle[0], top - middle[1]
        data = (a, b, a * dx + b * dy + picture.width / 2, d, e, d * dx + e * dy + picture.height / 2)
        if level not in self._ready:
            self._ready[level] = picture.convert("RGBa")
        shown = self._ready[level].transform((right - left, bottom - top), AFFINE, data, BILINEAR)
        if opacity < 1:
            faded = _dimming(opacity).take(np.asarray(shown))
            shown = Image.frombuffer("RGBa", shown.size, faded, "raw", "RGBa", 0, 1)
        return shown, (left, top)

    def _half(self, level: int) -> Image.Image:
        while len(self._halves) <= level:
            self._halves.append(self._halves[-1].reduce(2))
        return self._halves[level]


def _dimming(share: float) -> np.ndarray:
    """What each of the 256 values becomes, uint8 [256]."""
    return np.rint(_VALUES * share).astype(np.uint8)


def dimmed(mask: Image.Image, share: float) -> Image.Image:
    """A mask as dense as `share` of it."""
    return mask.point(_dimming(share).tolist())


def darkened(picture: Image.Image, left: float) -> Image.Image:
    """A picture of which only a share of the light is left."""
    # Pillow's own `point` rounds an entry for every value of every band in Python.
    return Image.fromarray(_dimming(left).take(np.asarray(picture)))


def faint_ellipse(size: int, share: float) -> Image.Image:
    """`dimmed(soft_ellipse(size), share)`, for every frame."""
    return Image.fromarray(_dimming(share).take(_ellipse_values(size)))


@lru_cache(maxsize=8)
def _ellipse_values(size: int) -> np.ndarray:
    return np.asarray(soft_ellipse(size)).astype(np.intp)


def soft_ellipse(size: int) -> Image.Image:
    """A mask, opaque in the middle and soft towards its edge: for shadows, smoke and light."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    falloff = np.clip(1.25 * (1 - np.hypot(axis[None, :], axis[:, None])), 0, 1)
    return Image.fromarray((255 * falloff).astype(np.uint8))
