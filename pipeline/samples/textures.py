"""What lies behind and below a subject: textures as functions of world coordinates.

World coordinates have their origin in the middle of the frame, x to the right and y down; one unit is the
shorter side of the frame. A texture is the same at every resolution.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

REACH = 4.0  # noise is defined for |x|, |y| < REACH


@dataclass(frozen=True)
class Window:
    """A rectangle of world coordinates and the pixels that show it."""

    half_width: float
    half_height: float
    columns: int
    rows: int

    @property
    def x(self) -> np.ndarray:
        """World x of every column's middle, [1, columns]."""
        steps = (np.arange(self.columns, dtype=np.float32) + 0.5) / self.columns * 2 - 1
        return (steps * self.half_width)[None, :]

    @property
    def y(self) -> np.ndarray:
        """World y of every row's middle, [rows, 1]."""
        steps = (np.arange(self.rows, dtype=np.float32) + 0.5) / self.rows * 2 - 1
        return (steps * self.half_height)[:, None]


Texture = Callable[[Window, np.random.Generator], np.ndarray]  # → float32, broadcastable to [rows, columns]


def noise(window: Window, rng: np.random.Generator, cells: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise in [0, 1], `cells` bumps a unit along y and `cells · stretch` along x."""
    height, width = round(2 * REACH * cells), round(2 * REACH * cells * stretch)
    lattice = Image.fromarray(rng.random((max(height, 2), max(width, 2)), dtype=np.float32))
    across, down = lattice.width / (2 * REACH), lattice.height / (2 * REACH)
    box = (
        (REACH - window.half_width) * across,
        (REACH - window.half_height) * down,
        (REACH + window.half_width) * across,
        (REACH + window.half_height) * down,
    )
    size = (window.columns, window.rows)
    return np.asarray(lattice.resize(size, Image.Resampling.BICUBIC, box=box)).clip(0, 1)


def _layered(window: Window, rng: np.random.Generator, cells: float) -> np.ndarray:
    return (
        0.55 * noise(window, rng, cells)
        + 0.3 * noise(window, rng, 2.3 * cells)
        + 0.15 * noise(window, rng, 5.1 * cells)
    )


def _plaster(window: Window, rng: np.random.Generator) -> np.ndarray:
    return _layered(window, rng, 4)


def _clouds(window: Window, rng: np.random.Generator) -> np.ndarray:
    return np.clip((_layered(window, rng, 1.4) - 0.42) * 4.5, 0, 1)


def _evening(window: Window, rng: np.random.Generator) -> np.ndarray:
    streaks = np.clip(noise(window, rng, 6, stretch=0.25) - 0.55, 0, 1)
    return np.clip(0.45 + 0.8 * window.y + 1.6 * streaks, 0, 1)


def _stripes(window: Window, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(0.16, 0.26)
    return _soft((window.x + rng.uniform(0, 1)) / pitch) + np.zeros_like(window.y)


def _diagonals(window: Window, rng: np.random.Generator) -> np.ndarray:
    pitch, slope = rng.uniform(0.2, 0.3), rng.choice([-1.0, 1.0])
    return _soft((window.x + slope * window.y) / pitch)


def _checker(window: Window, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(0.28, 0.4)
    across = _soft(window.x / pitch + rng.uniform(0, 1))
    down = _soft(window.y / pitch + rng.uniform(0, 1))
    return across * (1 - down) + down * (1 - across)


def _bricks(window: Window, rng: np.random.Generator) -> np.ndarray:
    height = rng.uniform(0.11, 0.15)
    row = window.y / height
    column = window.x / (2.2 * height) + 0.5 * (np.floor(row) % 2)
    joint = (np.abs(row % 1 - 0.5) > 0.4) | (np.abs(column % 1 - 0.5) > 0.45)
    bricks = 0.35 + 0.5 * _cells(np.floor(column), np.floor(row)) * np.ones_like(row)
    return np.where(joint, 0.0, bricks).astype(np.float32)


def _planks(window: Window, rng: np.random.Generator) -> np.ndarray:
    height = rng.uniform(0.13, 0.2)
    row = window.y / height + 0.37
    column = window.x / 0.9 + _cells(np.floor(row), np.ones_like(row))
    joint = (np.abs(row % 1 - 0.5) > 0.45) | (np.abs(column % 1 - 0.5) > 0.488)
    shade = 0.3 + 0.4 * _cells(np.floor(row), np.floor(column))
    grain = 0.3 * noise(window, rng, 18, stretch=0.12)
    return np.where(joint, 0.0, shade + grain).astype(np.float32)


def _dots(window: Window, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(0.2, 0.28)
    x, y = window.x / pitch % 1 - 0.5, window.y / pitch % 1 - 0.5
    return np.clip((0.1 - (x * x + y * y)) * 14 + 0.5, 0, 1)


def _blades(window: Window, rng: np.random.Generator) -> np.ndarray:
    return np.clip(1.3 * noise(window, rng, 5, stretch=4) - 0.15, 0, 1)


def _grains(window: Window, rng: np.random.Generator) -> np.ndarray:
    return 0.6 * noise(window, rng, 24) + 0.4 * noise(window, rng, 2)


def _hills(window: Window, rng: np.random.Generator) -> np.ndarray:
    first, second = rng.uniform(0, 2 * math.pi, 2)
    far = -0.12 + 0.08 * np.sin(3.1 * window.x + first) + 0.04 * np.sin(7.3 * window.x + second)
    near = 0.02 + 0.06 * np.sin(4.3 * window.x + second)
    return np.where(window.y > near, 1.0, np.where(window.y > far, 0.55, 0.1)).astype(np.float32)


def _soft(phase: np.ndarray) -> np.ndarray:
    """A square wave of period 1 whose edges are a little soft, so that small frames do not flicker."""
    return np.clip(0.5 + 3 * np.sin(2 * math.pi * phase), 0, 1)


def _cells(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """A value in [0, 1) for every cell of a grid, the same wherever it is asked for."""
    return np.abs(np.sin(column * 12.9898 + row * 78.233) * 43758.547).astype(np.float64) % 1


@dataclass(frozen=True)
class Surface:
    """A texture with the words for it and the two colours (HSV in [0, 1]) that it runs between."""

    words: str
    texture: Texture
    low: tuple[float, float, float]
    high: tuple[float, float, float]


WALLS: tuple[Surface, ...] = (
    Surface("a brick wall", _bricks, (0.08, 0.12, 0.75), (0.03, 0.5, 0.6)),
    Surface("a plastered wall", _plaster, (0.1, 0.25, 0.55), (0.12, 0.12, 0.92)),
    Surface("a cloudy sky", _clouds, (0.58, 0.55, 0.85), (0.58, 0.05, 0.98)),
    Surface("an evening sky", _evening, (0.68, 0.45, 0.55), (0.07, 0.5, 0.95)),
    Surface("striped wallpaper", _stripes, (0.14, 0.2, 0.9), (0.45, 0.3, 0.6)),
    Surface("diagonal stripes", _diagonals, (0.55, 0.3, 0.8), (0.6, 0.35, 0.5)),
    Surface("a tiled wall", _checker, (0.5, 0.12, 0.9), (0.52, 0.4, 0.62)),
    Surface("a wooden fence", _planks, (0.08, 0.5, 0.3), (0.1, 0.4, 0.75)),
    Surface("polka-dot wallpaper", _dots, (0.92, 0.18, 0.9), (0.85, 0.4, 0.6)),
    Surface("green hills", _hills, (0.55, 0.35, 0.95), (0.3, 0.5, 0.55)),
    Surface("a grey concrete wall", _plaster, (0.6, 0.06, 0.4), (0.6, 0.04, 0.75)),
)
FLOORS: tuple[Surface, ...] = (
    Surface("on a wooden table", _planks, (0.06, 0.6, 0.25), (0.08, 0.5, 0.6)),
    Surface("on a chequered floor", _checker, (0.1, 0.05, 0.85), (0.6, 0.15, 0.3)),
    Surface("on a green lawn", _blades, (0.3, 0.7, 0.3), (0.27, 0.55, 0.62)),
    Surface("on a sandy beach", _grains, (0.1, 0.4, 0.65), (0.12, 0.3, 0.9)),
    Surface("on a stone floor", _plaster, (0.6, 0.06, 0.35), (0.58, 0.05, 0.68)),
    Surface("on a striped carpet", _stripes, (0.0, 0.45, 0.45), (0.1, 0.4, 0.75)),
    Surface("on a brick pavement", _bricks, (0.05, 0.2, 0.3), (0.06, 0.3, 0.6)),
    Surface("on a white table", _grains, (0.6, 0.03, 0.85), (0.6, 0.02, 0.98)),
)
