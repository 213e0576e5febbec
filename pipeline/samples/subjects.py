"""What stands in a scene: silhouettes made of a few parts, coloured, patterned and shaded.

A part is drawn in local coordinates: x to the right, y down, the subject between -1 and 1, its base at y = 1.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

SPAN = 1.2  # a sprite covers [-SPAN, SPAN] in local units, so that a warp finds empty pixels at its border
NOTHING, MAIN, ACCENT, DARK, LIGHT, SHADE, LEAF, WOOD = range(8)


@dataclass(frozen=True)
class Part:
    """One shape of a silhouette: an ellipse (centre, radii), a polygon, or a line with a width."""

    kind: str
    role: int
    points: tuple[float, ...]
    width: float = 0.0


def ellipse(role: int, x: float, y: float, rx: float, ry: float | None = None) -> Part:
    ry = rx if ry is None else ry
    return Part("ellipse", role, (x - rx, y - ry, x + rx, y + ry))


def ring(role: int, x: float, y: float, rx: float, ry: float, width: float) -> Part:
    return Part("ring", role, (x - rx, y - ry, x + rx, y + ry), width)


def polygon(role: int, *points: float) -> Part:
    return Part("polygon", role, points)


def box(role: int, x0: float, y0: float, x1: float, y1: float) -> Part:
    return Part("polygon", role, (x0, y0, x1, y0, x1, y1, x0, y1))


def line(role: int, width: float, *points: float) -> Part:
    return Part("line", role, points, width)


def star(role: int, spikes: int, inner: float) -> Part:
    points: list[float] = []
    for k in range(2 * spikes):
        radius = 1.0 if k % 2 == 0 else inner
        angle = math.pi * k / spikes
        points += [radius * math.sin(angle), -radius * math.cos(angle)]
    return Part("polygon", role, tuple(points))


SUBJECTS: dict[str, tuple[Part, ...]] = {
    "ball": (ellipse(MAIN, 0, 0.04, 0.96), line(ACCENT, 0.16, -0.9, 0.15, 0.9, -0.1)),
    "crate": (
        polygon(MAIN, -0.85, -0.5, 0.35, -0.5, 0.35, 1, -0.85, 1),
        polygon(LIGHT, -0.85, -0.5, -0.4, -0.95, 0.85, -0.95, 0.35, -0.5),
        polygon(SHADE, 0.35, -0.5, 0.85, -0.95, 0.85, 0.5, 0.35, 1),
        line(ACCENT, 0.1, -0.85, -0.5, 0.35, 1),
    ),
    "star": (star(MAIN, 5, 0.48), ellipse(ACCENT, 0, 0, 0.24)),
    "mug": (
        ring(MAIN, 0.55, 0.15, 0.42, 0.45, 0.18),
        box(MAIN, -0.75, -0.7, 0.55, 0.92),
        ellipse(MAIN, -0.1, 0.9, 0.65, 0.1),
        ellipse(DARK, -0.1, -0.7, 0.65, 0.16),
    ),
    "teapot": (
        ring(MAIN, -0.72, 0.1, 0.36, 0.42, 0.15),
        polygon(MAIN, 0.4, 0.45, 0.75, -0.4, 1.08, -0.5, 0.7, 0.6),
        ellipse(MAIN, 0, 0.25, 0.75, 0.72),
        ellipse(ACCENT, 0, -0.45, 0.42, 0.16),
        ellipse(ACCENT, 0, -0.68, 0.14),
        box(SHADE, -0.4, 0.9, 0.4, 1),
    ),
    "cat": (
        line(MAIN, 0.16, 0.5, 0.85, 0.95, 0.6, 0.9, 0.05),
        ellipse(MAIN, 0, 0.5, 0.6, 0.52),
        polygon(MAIN, -0.5, -0.3, -0.52, -1.0, -0.08, -0.7),
        polygon(MAIN, 0.5, -0.3, 0.52, -1.0, 0.08, -0.7),
        ellipse(MAIN, 0, -0.35, 0.55, 0.48),
        ellipse(LIGHT, 0, 0.55, 0.3, 0.36),
        ellipse(DARK, -0.2, -0.42, 0.09),
        ellipse(DARK, 0.2, -0.42, 0.09),
        polygon(ACCENT, -0.08, -0.24, 0.08, -0.24, 0, -0.13),
    ),
    "rabbit": (
        ellipse(MAIN, -0.24, -0.68, 0.15, 0.36),
        ellipse(MAIN, 0.24, -0.68, 0.15, 0.36),
        ellipse(LIGHT, -0.24, -0.68, 0.07, 0.24),
        ellipse(LIGHT, 0.24, -0.68, 0.07, 0.24),
        ellipse(MAIN, 0, 0.55, 0.58, 0.47),
        ellipse(MAIN, 0, -0.12, 0.45, 0.4),
        ellipse(DARK, -0.17, -0.16, 0.08),
        ellipse(DARK, 0.17, -0.16, 0.08),
        ellipse(ACCENT, 0, 0.62, 0.32, 0.32),
    ),
    "fish": (
        polygon(ACCENT, 0.45, 0.1, 1.05, -0.45, 1.0, 0.75),
        polygon(ACCENT, -0.2, -0.4, 0.25, -0.85, 0.35, -0.3),
        ellipse(MAIN, -0.15, 0.12, 0.85, 0.6),
        ellipse(LIGHT, -0.6, -0.02, 0.16),
        ellipse(DARK, -0.62, -0.02, 0.08),
        line(SHADE, 0.07, -0.28, -0.28, -0.15, 0.12, -0.28, 0.5),
    ),
    "duck": (
        polygon(ACCENT, -0.6, -0.55, -1.05, -0.4, -0.6, -0.3),
        polygon(MAIN, 0.4, 0.2, 1.05, -0.15, 0.8, 0.65),
        ellipse(MAIN, 0.12, 0.5, 0.8, 0.5),
        ellipse(MAIN, -0.35, -0.42, 0.42),
        ellipse(SHADE, 0.25, 0.42, 0.42, 0.26),
        ellipse(DARK, -0.48, -0.52, 0.08),
    ),
    "apple": (
        ellipse(MAIN, -0.32, 0.2, 0.6, 0.76),
        ellipse(MAIN, 0.32, 0.2, 0.6, 0.76),
        line(WOOD, 0.12, 0, -0.4, 0.08, -0.95),
        ellipse(LEAF, 0.38, -0.72, 0.32, 0.15),
    ),
    "pear": (
        line(WOOD, 0.1, 0.0, -0.6, 0.1, -1.0),
        ellipse(MAIN, 0, -0.35, 0.4, 0.5),
        polygon(MAIN, -0.39, -0.3, 0.39, -0.3, 0.68, 0.4, -0.68, 0.4),
        ellipse(MAIN, 0, 0.4, 0.72, 0.6),
        ellipse(LEAF, 0.32, -0.82, 0.26, 0.12),
    ),
    "house": (
        box(WOOD, 0.38, -0.85, 0.6, -0.3),
        box(MAIN, -0.75, -0.15, 0.75, 1),
        polygon(ACCENT, -1.0, -0.1, 0, -0.98, 1.0, -0.1),
        box(DARK, -0.2, 0.4, 0.2, 1),
        box(LIGHT, -0.6, 0.1, -0.3, 0.42),
        box(LIGHT, 0.3, 0.1, 0.6, 0.42),
    ),
    "tree": (
        polygon(WOOD, -0.14, 0.2, 0.14, 0.2, 0.22, 1, -0.22, 1),
        ellipse(MAIN, -0.42, 0.0, 0.48),
        ellipse(MAIN, 0.42, 0.0, 0.48),
        ellipse(MAIN, 0, -0.45, 0.54),
        ellipse(ACCENT, -0.35, -0.1, 0.11),
        ellipse(ACCENT, 0.3, 0.1, 0.11),
        ellipse(ACCENT, 0.1, -0.5, 0.11),
    ),
    "mushroom": (
        polygon(LIGHT, -0.22, 0.0, 0.22, 0.0, 0.34, 1, -0.34, 1),
        Part("chord", MAIN, (-0.95, -0.9, 0.95, 0.95)),
        ellipse(ACCENT, -0.45, -0.25, 0.17),
        ellipse(ACCENT, 0.1, -0.5, 0.2),
        ellipse(ACCENT, 0.55, -0.15, 0.15),
    ),
    "toy car": (
        polygon(MAIN, -0.55, 0.1, -0.35, -0.5, 0.35, -0.5, 0.62, 0.1),
        polygon(LIGHT, -0.4, 0.05, -0.26, -0.36, 0.0, -0.36, 0.0, 0.05),
        polygon(LIGHT, 0.1, 0.05, 0.1, -0.36, 0.28, -0.36, 0.45, 0.05),
        box(MAIN, -1.0, 0.05, 1.0, 0.68),
        box(ACCENT, -1.0, 0.4, 1.0, 0.52),
        ellipse(DARK, -0.52, 0.7, 0.3),
        ellipse(DARK, 0.52, 0.7, 0.3),
        ellipse(LIGHT, -0.52, 0.7, 0.13),
        ellipse(LIGHT, 0.52, 0.7, 0.13),
    ),
    "robot": (
        line(DARK, 0.07, 0, -0.7, 0, -1.0),
        ellipse(ACCENT, 0, -0.98, 0.1),
        box(MAIN, -0.45, -0.78, 0.45, -0.15),
        box(SHADE, -0.95, -0.02, -0.65, 0.55),
        box(SHADE, 0.65, -0.02, 0.95, 0.55),
        box(MAIN, -0.62, -0.08, 0.62, 0.65),
        box(SHADE, -0.45, 0.65, -0.12, 1),
        box(SHADE, 0.12, 0.65, 0.45, 1),
        ellipse(LIGHT, -0.2, -0.48, 0.13),
        ellipse(LIGHT, 0.2, -0.48, 0.13),
        box(ACCENT, -0.3, 0.1, 0.3, 0.38),
    ),
    "heart": (
        ellipse(MAIN, -0.45, -0.35, 0.52),
        ellipse(MAIN, 0.45, -0.35, 0.52),
        polygon(MAIN, -0.92, -0.12, 0.92, -0.12, 0, 1),
        polygon(MAIN, -0.5, -0.4, 0.5, -0.4, 0.6, 0.1, -0.6, 0.1),
    ),
    "toy rocket": (
        polygon(ACCENT, -0.35, 0.25, -0.8, 0.95, -0.2, 0.85),
        polygon(ACCENT, 0.35, 0.25, 0.8, 0.95, 0.2, 0.85),
        ellipse(MAIN, 0, -0.05, 0.42, 0.98),
        box(SHADE, -0.26, 0.76, 0.26, 1),
        ellipse(LIGHT, 0, -0.3, 0.2),
        ellipse(DARK, 0, -0.3, 0.12),
    ),
    "cactus": (
        line(LEAF, 0.26, -0.3, 0.3, -0.72, 0.2, -0.72, -0.25),
        line(LEAF, 0.26, 0.3, 0.1, 0.72, 0.0, 0.72, -0.45),
        ellipse(LEAF, 0, -0.15, 0.32, 0.82),
        ellipse(ACCENT, 0, -0.92, 0.14),
        polygon(MAIN, -0.6, 0.45, 0.6, 0.45, 0.42, 1, -0.42, 1),
    ),
    "vase": (
        box(MAIN, -0.28, -0.95, 0.28, -0.3),
        ellipse(ACCENT, 0, -0.92, 0.4, 0.1),
        ellipse(MAIN, 0, 0.3, 0.66, 0.68),
        box(ACCENT, -0.35, 0.88, 0.35, 1),
    ),
    "table lamp": (
        box(WOOD, -0.07, -0.1, 0.07, 0.9),
        ellipse(DARK, 0, 0.92, 0.45, 0.1),
        polygon(MAIN, -0.38, -0.95, 0.38, -0.95, 0.8, 0.1, -0.8, 0.1),
        line(ACCENT, 0.1, -0.8, 0.05, 0.8, 0.05),
    ),
    "doughnut": (
        ellipse(WOOD, 0, 0.05, 0.98, 0.95),
        ellipse(MAIN, 0, -0.02, 0.9, 0.84),
        ellipse(WOOD, 0, 0.02, 0.36, 0.34),
        ellipse(DARK, 0, 0.04, 0.28, 0.26),
        line(ACCENT, 0.1, -0.6, -0.3, -0.45, -0.5),
        line(ACCENT, 0.1, 0.45, -0.55, 0.65, -0.4),
        line(ACCENT, 0.1, 0.5, 0.4, 0.7, 0.25),
        line(ACCENT, 0.1, -0.6, 0.3, -0.45, 0.5),
    ),
    "turtle": (
        ellipse(LEAF, -0.82, 0.25, 0.26, 0.22),
        ellipse(LEAF, -0.45, 0.78, 0.2, 0.22),
        ellipse(LEAF, 0.5, 0.78, 0.2, 0.22),
        polygon(LEAF, 0.7, 0.5, 1.05, 0.72, 0.7, 0.75),
        Part("chord", MAIN, (-0.75, -0.62, 0.85, 1.75)),
        ellipse(ACCENT, 0.05, -0.1, 0.24, 0.2),
        ellipse(ACCENT, -0.38, 0.28, 0.18, 0.16),
        ellipse(ACCENT, 0.48, 0.28, 0.18, 0.16),
        ellipse(DARK, -0.9, 0.2, 0.06),
    ),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "speckled")


def draw_sprite(
    parts: tuple[Part, ...], pattern: str, palette: np.ndarray, rng: np.random.Generator, size: int
) -> Image.Image:
    """Draw a silhouette, lit from the upper left.

    Args:
        palette: colour of every role, uint8 [8, 3].
        size: pixels along a side of the square sprite.

    Returns:
        An RGBA image; colours continue under transparent pixels so that a warp shows no dark fringe.
    """
    fine = 3 if size < 400 else 2
    roles = _draw_roles(parts, size * fine)
    colours = np.concatenate([palette, np.full((len(palette), 1), 255, np.uint8)], axis=1)
    colours[NOTHING] = 0
    mask = _pattern(pattern, size * fine, rng)
    roles = np.where((roles == MAIN) & mask, ACCENT, roles)
    rgba = np.array(Image.fromarray(colours[roles]).reduce(fine))
    alpha = rgba[..., 3]
    rgb = np.where(alpha[..., None] > 0, rgba[..., :3], palette[MAIN]).astype(np.float32)
    lit = rgb * _shading(alpha)[..., None] + _gloss(size)[..., None]
    return Image.fromarray(np.dstack([np.clip(lit, 0, 255).astype(np.uint8), alpha]))


def _draw_roles(parts: tuple[Part, ...], size: int) -> np.ndarray:
    canvas = Image.new("L", (size, size), NOTHING)
    pen = ImageDraw.Draw(canvas)
    scale = size / (2 * SPAN)
    for part in parts:
        xy = [(value + SPAN) * scale for value in part.points]
        width = max(1, round(part.width * scale))
        if part.kind == "ellipse":
            pen.ellipse(xy, fill=part.role)
        elif part.kind == "ring":
            pen.ellipse(xy, outline=part.role, width=width)
        elif part.kind == "chord":
            pen.chord(xy, 180, 360, fill=part.role)
        elif part.kind == "line":
            pen.line(xy, fill=part.role, width=width, joint="curve")
        else:
            pen.polygon(xy, fill=part.role)
    return np.asarray(canvas)


def _pattern(pattern: str, size: int, rng: np.random.Generator) -> np.ndarray:
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * SPAN
    x, y = axis[None, :], axis[:, None]
    offset = rng.uniform(0, 1)
    if pattern == "striped":
        return (x * 1.6 + y * rng.choice([-1.2, 0.6, 1.8]) + offset) % 0.8 < 0.34
    if pattern == "dotted":
        return ((x + offset) % 0.5 - 0.25) ** 2 + ((y + offset) % 0.5 - 0.25) ** 2 < 0.018
    if pattern == "checked":
        return ((x + offset) % 0.7 < 0.35) ^ ((y + offset) % 0.7 < 0.35)
    if pattern == "speckled":
        coarse = Image.fromarray(rng.random((24, 24), dtype=np.float32))
        return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) > 0.78
    return np.zeros((1, 1), bool)


def _shading(alpha: np.ndarray) -> np.ndarray:
    """Light on a surface that bulges where the silhouette is thick: gradients of a blurred mask."""
    size = len(alpha)
    coarse = Image.fromarray(alpha.astype(np.float32) / 255).resize((64, 64), Image.Resampling.BOX)
    height = gaussian_filter(np.asarray(coarse), 0.11 * 64 / SPAN, mode="constant")
    slopes = np.gradient(height, 2 * SPAN / 64)
    slope_y, slope_x = (
        np.asarray(Image.fromarray(slope).resize((size, size), Image.Resampling.BICUBIC)) for slope in slopes
    )
    return np.clip(1.02 + 0.3 * slope_x + 0.4 * slope_y, 0.5, 1.3)


def _gloss(size: int) -> np.ndarray:
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * np.float32(SPAN)
    return 55 * np.exp(-((axis[None, :] + 0.35) ** 2 + (axis[:, None] + 0.35) ** 2) / 0.09)
