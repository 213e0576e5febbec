"""Gestures of the subject: it turns, topples, grows, walks about, leaves; its shape stays its own."""

import math

from pipeline.samples.effect import Params, mix, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Pose

TAU = 2 * math.pi


def _since(t: float, params: Params) -> float:
    """Clip time since the onset, 0..1."""
    return max(0.0, t - params.onset) / (1 - params.onset)


def _turn(t: float, params: Params, way: str) -> Pose:
    """Turns as a coin does on its edge, head over heels, or onto its head."""
    p = params.progress(t)
    if way == "upside_down":
        return Pose(turn=params.direction * math.pi * p)
    face = math.cos(TAU * 2 * p)
    face = math.copysign(max(abs(face), 0.06), face)
    return Pose(stretch_x=face) if way == "like_a_coin" else Pose(stretch_y=face)


def _topple(t: float, params: Params, way: float) -> Pose:
    """Falls over on its side about its base, faster and faster, with a little rebound."""
    p = min(1.0, max(0.0, (t - params.onset) / 0.55))
    fallen = p * p * (1 - 0.12 * math.sin(math.pi * smooth((t - 0.6) / 0.25)))
    angle = fallen * math.pi / 2
    return Pose(way * 0.9 * math.sin(angle), 0.25 * math.sin(angle) * math.sin(angle), turn=way * angle)


def _rock(t: float, params: Params, swings: float) -> Pose:
    """Rocks on its base like a metronome."""
    ramp = smooth((t - params.onset) / 0.15) * params.strength
    angle = 0.6 * params.direction * ramp * math.sin(TAU * swings * _since(t, params))
    return Pose(math.sin(angle), 1 - math.cos(angle), turn=angle)


def _grow(t: float, params: Params, size: tuple[float, float]) -> Pose:
    """Becomes so much wider and taller where it stands."""
    p = params.progress(t)
    return Pose(stretch_x=mix(1.0, size[0], p), stretch_y=mix(1.0, size[1], p)).grounded()


def _pulse(t: float, params: Params, beats: float) -> Pose:
    """Swells and sinks back like a beating heart."""
    beat = math.sin(math.pi * beats * _since(t, params)) ** 2
    size = 1 + 0.4 * params.strength * beat * smooth((t - params.onset) / 0.05)
    return Pose(stretch_x=size, stretch_y=size)


def _walk(t: float, params: Params, way: str) -> Pose:
    """Runs from side to side or along a circle."""
    since, ramp = _since(t, params), smooth((t - params.onset) / 0.1) * params.strength
    if way == "side_to_side":
        return Pose(1.25 * ramp * params.direction * math.sin(TAU * 2 * since))
    angle = TAU * 2 * params.direction * since
    return Pose(0.65 * ramp * math.sin(angle), -0.6 * ramp * (1 - math.cos(angle)))


def _leave(t: float, params: Params, way: tuple[float, float]) -> Pose:
    """Gathers a little, then leaves the picture that way."""
    p = min(1.0, max(0.0, (t - params.onset) / (0.9 - params.onset)))
    reach = p * p * 3.9 * params.strength - 0.25 * math.sin(math.pi * min(1.0, 4 * p))
    return Pose(way[0] * reach, way[1] * reach)


GESTURES = (
    *family(
        "turn",
        "transformation",
        {name: name for name in ("like_a_coin", "head_over_heels", "upside_down")},
        "the subject turns {value}",
        "flip",
        "somersault",
        pose=_turn,
    ),
    *family(
        "topple",
        "transformation",
        {"to_the_left": -1.0, "to_the_right": 1.0},
        "the subject topples {value}",
        "tip",
        pose=_topple,
    ),
    *family(
        "topple",
        "transformation",
        {"to_and_fro": 3.0},
        "the subject rocks on its base",
        "rock",
        "metronome",
        pose=_rock,
    ),
    *family(
        "grow",
        "transformation",
        {
            "large": (2.2, 2.2),
            "tall": (0.85, 2.0),
            "broad": (2.4, 0.8),
            "thin": (0.2, 1.0),
        },
        "the subject becomes {value}",
        "bigger",
        "larger",
        pose=_grow,
    ),
    *family(
        "grow",
        "transformation",
        {"in_beats": 3.5},
        "the subject beats like a heart",
        "pulse",
        "throb",
        pose=_pulse,
    ),
    *family(
        "move",
        "transformation",
        {name: name for name in ("side_to_side", "in_a_circle")},
        "the subject moves {value}",
        "run",
        pose=_walk,
    ),
    *family(
        "leave",
        "transformation",
        {"to_the_left": (-1.0, 0.0), "to_the_right": (1.0, 0.0), "upwards": (0.0, -0.75)},
        "the subject leaves the picture {value}",
        "exit",
        pose=_leave,
    ),
)
