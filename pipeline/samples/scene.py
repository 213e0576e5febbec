"""A procedural scene: what stands where, in which colours, and the sentence that says so."""

import math
from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.samples.layers import Layers
from pipeline.samples.seeding import generator
from pipeline.samples.subjects import (
    ACCENT,
    DARK,
    LEAF,
    LIGHT,
    MAIN,
    PATTERNS,
    SHADE,
    SPAN,
    SUBJECTS,
    WOOD,
    Part,
    draw_sprite,
)
from pipeline.samples.textures import FLOORS, WALLS, Surface, Window, noise

# name → hue, saturation, value
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.995, 0.85, 0.88),
    "orange": (0.07, 0.88, 0.97),
    "yellow": (0.14, 0.82, 0.98),
    "green": (0.35, 0.75, 0.68),
    "teal": (0.49, 0.8, 0.68),
    "blue": (0.61, 0.8, 0.88),
    "purple": (0.76, 0.65, 0.75),
    "pink": (0.92, 0.5, 0.98),
    "white": (0.1, 0.03, 0.97),
    "brown": (0.06, 0.65, 0.5),
}
_OPENINGS = ("A {thing}", "One {thing}", "There is a {thing}", "A view of a {thing}", "A lone {thing}")


@dataclass(frozen=True)
class Scene:
    """What a seed chose. Lengths are in world units: one is the shorter side of the frame."""

    seed: int
    subject: str
    pattern: str
    colour: str
    second_colour: str
    wall: Surface
    floor: Surface | None
    radius: float
    centre: tuple[float, float]
    opening: str

    @property
    def caption(self) -> str:
        """A sentence about the scene; it knows nothing of the effect."""
        if self.pattern == "plain":
            thing = f"{self.colour} {self.subject}"
        else:
            thing = f"{self.pattern} {self.colour} and {self.second_colour} {self.subject}"
        opening = self.opening.format(thing=thing).replace(" a orange", " an orange")
        opening = opening.replace("A orange", "An orange")
        if self.floor is None:
            return f"{opening} in front of {self.wall.words}."
        return f"{opening} {self.floor.words} in front of {self.wall.words}."

    @property
    def ground(self) -> float:
        """World y of the line on which the subject stands."""
        return self.centre[1] + self.radius

    def layers(self, height: int, width: int, margin: tuple[float, float] = (0.0, 0.0)) -> Layers:
        """Draw the scene's layers for frames of `height` × `width` pixels.

        Args:
            margin: world units that the background goes on beyond each side of the frame, (x, y).
        """
        unit = min(height, width)
        size = max(8, round(2 * SPAN * self.radius * unit))
        palette = _palette(COLOURS[self.colour], COLOURS[self.second_colour])

        def draw(parts: tuple[Part, ...]) -> Image.Image:
            return draw_sprite(parts, self.pattern, palette, generator("sprite", self.seed), size)

        # Whole pixels of margin: the frame's own pixels are the same whatever lies around them.
        columns, rows = (
            side + 2 * math.ceil(m * unit) for side, m in zip((width, height), margin, strict=True)
        )
        half = (0.5 * columns / unit, 0.5 * rows / unit)
        window = Window(*half, columns, rows)
        background = self._background(window)
        return Layers(
            height,
            width,
            background,
            half,
            draw(SUBJECTS[self.subject]),
            self.centre,
            self.radius,
            redraw=draw,
            ground=self.ground,
            drawn=self.radius,
        )

    def _background(self, window: Window) -> Image.Image:
        below = window.rows
        if self.floor is not None:
            horizon = self.ground - 0.4 * self.radius
            below = int(np.searchsorted(window.y[:, 0], horizon))
        picture = np.empty((3, window.rows, window.columns), np.float32)
        picture[:, :below] = _paint(self.wall, window, generator("wall", self.seed), slice(below))
        if self.floor is not None:
            floor = _paint(self.floor, window, generator("floor", self.seed), slice(below, None))
            depth = np.clip((window.y[below:] - horizon) / 0.25, 0, 1)
            np.multiply(floor, 0.72 + 0.28 * depth, out=picture[:, below:])
        return Image.fromarray(np.stack(list(np.clip(picture, 0, 255).astype(np.uint8)), -1))


def make_scene(seed: int) -> Scene:
    """The scene of a seed: the same at every resolution, in every process, under every effect."""
    rng = generator("scene", seed)
    colour, second = rng.choice(list(COLOURS), 2, replace=False)
    wall = WALLS[rng.integers(len(WALLS))]
    floor = FLOORS[rng.integers(len(FLOORS))] if rng.random() < 0.85 else None
    radius = float(rng.uniform(0.27, 0.32))
    return Scene(
        seed=seed,
        subject=str(rng.choice(list(SUBJECTS))),
        pattern=str(rng.choice(PATTERNS, p=(0.4, 0.15, 0.15, 0.15, 0.15))),
        colour=str(colour),
        second_colour=str(second),
        wall=wall,
        floor=floor,
        radius=radius,
        centre=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(0.33, 0.38)) - radius),
        opening=str(rng.choice(_OPENINGS)),
    )


def _palette(main: tuple[float, float, float], second: tuple[float, float, float]) -> np.ndarray:
    palette = np.zeros((8, 3), np.uint8)
    palette[MAIN] = _rgb(main)
    palette[ACCENT] = _rgb(second)
    palette[SHADE] = _rgb((main[0], main[1], 0.68 * main[2]))
    palette[LIGHT] = _rgb((main[0], 0.25 * main[1], 0.97))
    palette[DARK] = (38, 32, 40)
    palette[LEAF] = (72, 142, 66)
    palette[WOOD] = (150, 98, 58)
    return palette


def _rgb(hsv: tuple[float, float, float]) -> np.ndarray:
    return np.array(hsv_to_rgb(*hsv)) * 255


def _paint(surface: Surface, window: Window, rng: np.random.Generator, rows: slice) -> np.ndarray:
    """Some of the window's rows, float32 [3, rows, columns] in 0..255, the two colours jittered a little."""
    low, high = (
        _rgb((hsv[0] + rng.uniform(-0.03, 0.03), hsv[1], hsv[2] * rng.uniform(0.92, 1.0)))
        for hsv in (surface.low, surface.high)
    )
    # Stains on every surface: however regular a pattern is, a moving camera shows.
    stains = 0.3 * (noise(window, rng, 2.5)[rows] - 0.5)
    value = stains + np.broadcast_to(surface.texture(window, rng), (window.rows, window.columns))[rows]
    shade = (1.0 - 0.1 * np.clip(window.x, -1, 1) * rng.uniform(-1, 1)).astype(np.float32)
    low32, span = low.astype(np.float32), (high - low).astype(np.float32)
    value = value.astype(np.float32)
    return np.stack([(low32[k] + value * span[k]) * shade for k in range(3)])
