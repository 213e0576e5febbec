"""The subject turned into another one, in its own colours, or wearing something that it grew."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from pipeline.samples.cutout import Cutout
from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers, Pose
from pipeline.samples.subjects import (
    ACCENT,
    DARK,
    LEAF,
    LIGHT,
    MAIN,
    SHADE,
    WOOD,
    Part,
    box,
    draw_sprite,
    ellipse,
    line,
    polygon,
    star,
)

TAU = 2 * math.pi

# Silhouettes that no scene has.
GUISES: dict[str, tuple[Part, ...]] = {
    "butterfly": (
        ellipse(MAIN, -0.5, -0.4, 0.5, 0.52),
        ellipse(MAIN, 0.5, -0.4, 0.5, 0.52),
        ellipse(ACCENT, -0.42, 0.5, 0.38, 0.46),
        ellipse(ACCENT, 0.42, 0.5, 0.38, 0.46),
        ellipse(LIGHT, -0.5, -0.4, 0.2),
        ellipse(LIGHT, 0.5, -0.4, 0.2),
        ellipse(DARK, 0, 0.05, 0.11, 0.85),
        line(DARK, 0.06, 0, -0.7, -0.25, -1.05),
        line(DARK, 0.06, 0, -0.7, 0.25, -1.05),
    ),
    "snowman": (
        ellipse(MAIN, 0, 0.5, 0.62, 0.5),
        ellipse(MAIN, 0, -0.2, 0.44, 0.4),
        ellipse(MAIN, 0, -0.7, 0.3),
        ellipse(DARK, -0.1, -0.76, 0.05),
        ellipse(DARK, 0.1, -0.76, 0.05),
        polygon(ACCENT, 0, -0.7, 0.42, -0.62, 0, -0.6),
        ellipse(DARK, 0, -0.25, 0.06),
        ellipse(DARK, 0, 0.35, 0.07),
        line(WOOD, 0.07, -0.4, -0.2, -1.05, -0.55),
        line(WOOD, 0.07, 0.4, -0.2, 1.05, -0.55),
    ),
    "flower": (
        line(LEAF, 0.12, 0, 0, 0, 1),
        ellipse(LEAF, 0.32, 0.7, 0.3, 0.13),
        *(ellipse(MAIN, 0.48 * math.cos(a), -0.4 + 0.48 * math.sin(a), 0.3) for a in np.arange(6) * TAU / 6),
        ellipse(ACCENT, 0, -0.4, 0.3),
    ),
    "boat": (
        line(WOOD, 0.09, 0, -1.0, 0, 0.5),
        polygon(MAIN, 0.08, -0.95, 0.85, 0.3, 0.08, 0.3),
        polygon(LIGHT, -0.08, -0.7, -0.6, 0.3, -0.08, 0.3),
        polygon(ACCENT, -1.1, 0.42, 1.1, 0.42, 0.7, 1, -0.7, 1),
    ),
    "crown": (
        polygon(MAIN, -0.95, 1, -1.05, -0.5, -0.5, 0.15, 0, -0.85, 0.5, 0.15, 1.05, -0.5, 0.95, 1),
        box(SHADE, -0.95, 0.65, 0.95, 1),
        ellipse(ACCENT, 0, 0.82, 0.14),
        ellipse(ACCENT, -0.6, 0.82, 0.1),
        ellipse(ACCENT, 0.6, 0.82, 0.1),
        ellipse(LIGHT, 0, -0.85, 0.15),
        ellipse(LIGHT, -1.03, -0.5, 0.13),
        ellipse(LIGHT, 1.03, -0.5, 0.13),
    ),
    "ghost": (
        ellipse(LIGHT, 0, -0.3, 0.7, 0.7),
        polygon(
            LIGHT,
            -0.7,
            -0.3,
            0.7,
            -0.3,
            0.85,
            1,
            0.5,
            0.72,
            0.2,
            1,
            -0.1,
            0.72,
            -0.4,
            1,
            -0.62,
            0.72,
            -0.85,
            1,
        ),
        ellipse(DARK, -0.26, -0.35, 0.14, 0.2),
        ellipse(DARK, 0.26, -0.35, 0.14, 0.2),
        ellipse(DARK, 0, 0.12, 0.14, 0.18),
    ),
    "umbrella": (
        Part("chord", MAIN, (-1.1, -0.9, 1.1, 1.0)),
        polygon(ACCENT, -0.35, 0.05, 0, -0.88, 0.35, 0.05),
        line(WOOD, 0.1, 0, 0, 0, 0.85),
        line(WOOD, 0.1, 0, 0.85, -0.12, 1.0, -0.3, 0.85),
    ),
    "hourglass": (
        box(WOOD, -0.75, -1, 0.75, -0.8),
        box(WOOD, -0.75, 0.8, 0.75, 1),
        polygon(LIGHT, -0.6, -0.8, 0.6, -0.8, 0.06, 0, 0.6, 0.8, -0.6, 0.8, -0.06, 0),
        polygon(MAIN, -0.42, -0.5, 0.42, -0.5, 0.05, 0, -0.05, 0),
        polygon(MAIN, -0.55, 0.8, 0, 0.3, 0.55, 0.8),
    ),
    "spider": (
        *(
            line(DARK, 0.09, 0, 0.1, s * 0.7, y - 0.45, s * 1.1, y + 0.35)
            for s in (-1, 1)
            for y in (-0.4, 0, 0.4, 0.65)
        ),
        ellipse(MAIN, 0, 0.3, 0.55, 0.5),
        ellipse(ACCENT, 0, 0.3, 0.2, 0.3),
        ellipse(MAIN, 0, -0.3, 0.32),
        ellipse(LIGHT, -0.12, -0.38, 0.09),
        ellipse(LIGHT, 0.12, -0.38, 0.09),
    ),
}


def _become(layers: Layers, t: float, params: Params, parts: tuple[Part, ...]) -> Image.Image:
    """Turns about like a coin; the other face is another subject."""
    p = params.progress(t)
    face = math.cos(math.pi * p)
    other = layers.once("other", lambda: Cutout(layers.redraw(parts)))
    frame = layers.plate()
    wide = max(abs(face), 0.06)
    layers.shadow(frame, Pose(stretch_x=wide))
    layers.stand(frame, Pose(stretch_x=wide), sprite=None if face > 0 else other)
    return frame


# What grows: its silhouette, whether behind the subject, where its root is, and which way it unfolds.
_WHITE, _DARK, _RED, _GREEN, _BONE = (
    (246, 246, 250),
    (26, 22, 30),
    (196, 26, 36),
    (58, 150, 50),
    (226, 208, 168),
)
_COLOURS = np.array(
    [(0, 0, 0), _WHITE, _RED, _DARK, (255, 255, 255), (176, 176, 190), _GREEN, _BONE], np.uint8
)
SPROUTS: dict[str, tuple[tuple[Part, ...], bool, float, float, float]] = {
    "wings": (
        (
            polygon(MAIN, 0, 0.3, -0.5, -0.75, -1.15, -0.95, -1.05, -0.2, -0.85, 0.35, -0.5, 0.6),
            polygon(MAIN, 0, 0.3, 0.5, -0.75, 1.15, -0.95, 1.05, -0.2, 0.85, 0.35, 0.5, 0.6),
            line(SHADE, 0.06, -0.1, 0.25, -0.9, -0.7),
            line(SHADE, 0.06, 0.1, 0.25, 0.9, -0.7),
            line(SHADE, 0.06, -0.1, 0.3, -0.95, 0.0),
            line(SHADE, 0.06, 0.1, 0.3, 0.95, 0.0),
        ),
        True,
        0.0,
        -0.25,
        1.9,
    ),
    "horns": (
        (
            polygon(WOOD, -0.75, 1, -0.35, 1, -0.75, -0.1, -1.1, -0.9, -1.05, 0.1),
            polygon(WOOD, 0.75, 1, 0.35, 1, 0.75, -0.1, 1.1, -0.9, 1.05, 0.1),
        ),
        True,
        0.0,
        -1.1,
        1.0,
    ),
    "eyes": (
        (
            ellipse(MAIN, -0.55, 0, 0.5),
            ellipse(MAIN, 0.55, 0, 0.5),
            ellipse(DARK, -0.45, 0.1, 0.22),
            ellipse(DARK, 0.65, 0.1, 0.22),
        ),
        False,
        0.0,
        -0.2,
        0.75,
    ),
    "thorns": ((star(DARK, 14, 0.62),), True, 0.0, 0.0, 1.75),
    "leaves": (
        (
            line(LEAF, 0.14, 0, 1, 0, -0.4),
            ellipse(LEAF, -0.5, -0.1, 0.5, 0.2),
            ellipse(LEAF, 0.5, -0.3, 0.5, 0.2),
            ellipse(ACCENT, 0, -0.65, 0.32),
            ellipse(MAIN, 0, -0.65, 0.13),
        ),
        True,
        0.0,
        -1.5,
        0.85,
    ),
    "arms": (
        (
            line(DARK, 0.16, -0.3, 0.2, -0.85, 0.25, -1.0, -0.6),
            line(DARK, 0.16, 0.3, 0.2, 0.85, 0.25, 1.0, -0.6),
            ellipse(MAIN, -1.0, -0.72, 0.18),
            ellipse(MAIN, 1.0, -0.72, 0.18),
        ),
        True,
        0.0,
        0.0,
        1.55,
    ),
}


def _sprout(layers: Layers, t: float, params: Params, what: str) -> Image.Image:
    """Something pushes out of the subject, a little too far, and settles."""
    parts, behind, x, y, size = SPROUTS[what]
    p = min(1.0, max(0.0, (t - params.onset) / 0.55))
    grown = smooth(p) + 0.2 * math.sin(math.pi * smooth((p - 0.6) / 0.4))
    if what == "wings":
        grown_x = grown * (1 - 0.25 * smooth((t - 0.5) / 0.1) * math.sin(TAU * 4 * t) ** 2)
    else:
        grown_x = grown
    thing = layers.once("thing", lambda: Cutout(_drawn(layers, parts)))
    pose = Pose(x, y + (0.6 * size * (1 - grown) if y < -0.5 else 0), size * grown_x, size * grown)
    frame = layers.plate()
    layers.shadow(frame)
    if behind:
        layers.stand(frame, pose, sprite=thing)
    layers.stand(frame)
    if not behind:
        layers.stand(frame, pose, sprite=thing)
    return frame


def _drawn(layers: Layers, parts: tuple[Part, ...]) -> Image.Image:
    return draw_sprite(parts, "plain", _COLOURS, np.random.default_rng(0), layers.sprite.width)


def _surround(layers: Layers, t: float, params: Params, what: str) -> Image.Image:
    """Something is about the subject: arcs, moons, hoops, twinkles."""
    ramp = smooth((t - params.onset) / 0.2)
    plain = layers.posed(Pose())
    if ramp == 0:
        return plain
    unit = layers.radius * layers.near.zoom * layers.unit
    x0, y0 = layers.to_pixel(*layers.centre)

    def at(u: float, v: float) -> tuple[float, float]:
        return x0 + unit * u, y0 + unit * v

    frame = layers.plate()
    layers.shadow(frame)
    pen = ImageDraw.Draw(frame)
    behind, before = _things(what, t, params, layers)
    for thing in behind:
        thing(pen, at, unit)
    layers.stand(frame)
    for thing in before:
        thing(pen, at, unit)
    return Image.blend(plain, frame, ramp)


At = Callable[[float, float], tuple[float, float]]
Thing = Callable[[ImageDraw.ImageDraw, At, float], None]  # pen, pixel of a local place, pixels in a radius


def _things(what: str, t: float, params: Params, layers: Layers) -> tuple[list[Thing], list[Thing]]:
    """What is drawn behind the subject, and what before it."""
    if what == "moons":
        angles = [TAU * (k / 5 + 1.5 * params.direction * t) for k in range(5)]
        moons = [
            (math.sin(angle), _moon(1.45 * math.cos(angle), 0.1 + 0.4 * math.sin(angle))) for angle in angles
        ]
        return [moon for near, moon in moons if near <= 0], [moon for near, moon in moons if near > 0]
    if what == "hoops":
        heights = [0.9 - 1.9 * ((1.5 * t + k / 3) % 1) for k in range(3)]
        return [_hoop(v, 180, 360) for v in heights], [_hoop(v, 0, 180) for v in heights]
    if what == "arcs":
        rng = params.rng(f"arcs {int(t * 24)}")
        return [], [
            _arc(rng.uniform(0, TAU), rng.uniform(0.5, 1.3), rng.uniform(0.55, 1.35, 7)) for _ in range(5)
        ]
    places = layers.once("twinkles", lambda: params.rng("twinkles").uniform(-1, 1, (26, 3)))
    return [], [_twinkle(1.35 * u, 1.25 * v - 0.1, math.sin(TAU * (2 * t + start))) for u, v, start in places]


def _moon(u: float, v: float) -> Thing:
    return lambda pen, at, unit: _ball(pen, at(u, v), 0.22 * unit)


def _hoop(v: float, start: int, end: int) -> Thing:
    def draw(pen: ImageDraw.ImageDraw, at: At, unit: float) -> None:
        box = (*at(-1.2, v - 0.3), *at(1.2, v + 0.3))
        pen.arc(box, start, end, fill=(255, 240, 80), width=max(1, round(0.1 * unit)))

    return draw


def _arc(start: float, sweep: float, reach: np.ndarray) -> Thing:
    def draw(pen: ImageDraw.ImageDraw, at: At, unit: float) -> None:
        angles = np.linspace(start, start + sweep, len(reach))
        points = [at(r * math.cos(a), r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]
        pen.line(points, fill=(120, 200, 255), width=max(1, round(0.09 * unit)))
        pen.line(points, fill=(240, 250, 255), width=max(1, round(0.03 * unit)))

    return draw


def _twinkle(u: float, v: float, shine: float) -> Thing:
    def draw(pen: ImageDraw.ImageDraw, at: At, unit: float) -> None:
        if shine < 0.1:
            return
        (x, y), arm, width = at(u, v), 0.3 * unit * shine, max(1, round(0.06 * unit))
        pen.line((x - arm, y, x + arm, y), fill=(255, 250, 190), width=width)
        pen.line((x, y - arm, x, y + arm), fill=(255, 250, 190), width=width)

    return draw


def _ball(pen, middle: tuple[float, float], radius: float) -> None:
    x, y = middle
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(206, 206, 220))
    pen.ellipse(
        (x - 0.6 * radius, y - 0.7 * radius, x + 0.3 * radius, y + 0.2 * radius), fill=(246, 246, 255)
    )


GUISE_EFFECTS = (
    *family(
        "become",
        "transformation",
        {
            ("an_" if name[0] in "aeiou" or name == "hourglass" else "a_") + name: GUISES[name]
            for name in GUISES
        },
        "the subject turns into {value}",
        "transform",
        "turns",
        draw=_become,
    ),
    *family(
        "sprout",
        "transformation",
        {name: name for name in SPROUTS},
        "the subject grows {value}",
        "sprouting",
        draw=_sprout,
    ),
    *family(
        "surround",
        "transformation",
        {name: name for name in ("arcs", "moons", "hoops", "twinkles")},
        "{value} play about the subject",
        "sparks",
        "electric",
        draw=_surround,
    ),
)
