"""The whole picture in other colours, by one linear map of its colours."""

import numpy as np
from PIL import Image

from pipeline.samples.effect import Params
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers

LUMA = np.array([0.299, 0.587, 0.114])
Ink = tuple[tuple[int, int, int], tuple[int, int, int]]  # what black becomes, what white becomes


def duotone(picture: Image.Image, share: float, ink: Ink) -> Image.Image:
    """The picture's greys between two colours, blended over it."""
    dark, light = (np.array(colour) / 255 for colour in ink)
    full = np.outer(light - dark, LUMA)
    matrix = (1 - share) * np.eye(3) + share * full
    rows = [value for row, shift in zip(matrix, share * dark, strict=True) for value in (*row, 255 * shift)]
    return picture.convert("RGB", tuple(rows))


def _tint(layers: Layers, t: float, params: Params, ink: Ink) -> Image.Image:
    """Like a print in one ink on white paper."""
    return duotone(layers.still(), params.progress(t), ink)


PAPER = (255, 255, 250)
TINTS = family(
    "tint",
    "style",
    {
        "crimson": ((170, 0, 30), PAPER),
        "amber": ((196, 120, 0), PAPER),
        "lime": ((60, 140, 0), PAPER),
        "cyan": ((0, 150, 170), PAPER),
        "indigo": ((40, 20, 190), PAPER),
        "magenta": ((190, 0, 170), PAPER),
        "sepia": ((52, 34, 20), (236, 208, 160)),
        "moonlight": ((0, 6, 40), (120, 150, 215)),
    },
    "the picture becomes a print in {value}",
    "print",
    "ink",
    draw=_tint,
)
