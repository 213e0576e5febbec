"""Moves of the camera beyond the plain ones: aslant, into a corner, there and round again, jolted."""

import math

from pipeline.samples.camera import PAN, TILT, both, travel
from pipeline.samples.effect import Extent, Params, Views, mix, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Camera

TAU = 2 * math.pi


def _pan(extent: Extent, t: float, params: Params, way: tuple[float, float]) -> Views:
    """The camera swings aslant."""
    p = params.strength * params.progress(t)
    return travel(extent, PAN * way[0] * p, TILT * way[1] * p)


def _pan_round(extent: Extent, t: float, params: Params, rounds: float) -> Views:
    """The middle of the picture runs along a circle and comes back to where it was."""
    angle = TAU * rounds * params.direction * smooth((t - params.onset) / (1.0 - params.onset))
    return travel(extent, 0.3 * math.sin(angle), 0.3 * params.strength * (math.cos(angle) - 1) / 2)


def _zoom(extent: Extent, t: float, params: Params, way: tuple[float, float]) -> Views:
    """The camera zooms into a corner of the picture; the subject leaves at the opposite one."""
    p = params.progress(t)
    wide, tall = extent
    zoom = 1 + 1.2 * params.strength * p
    reach = 0.5 - 0.5 / zoom  # as far as the frame allows
    return both(Camera(way[0] * reach * wide, way[1] * reach * tall, zoom))


def _dolly(extent: Extent, t: float, params: Params, least: float) -> Views:
    """A dolly zoom: the subject keeps its size while the background recedes."""
    return Camera(zoom=mix(1.0, max(0.5, least / params.strength), params.progress(t))), Camera()


def _shake(extent: Extent, t: float, params: Params, way: tuple[float, float]) -> Views:
    """Jolts along one line."""
    ramp = smooth((t - params.onset) / 0.12) * params.strength
    jolt = math.sin(TAU * (10.3 * t + params.phase)) + 0.5 * math.sin(TAU * (15.7 * t + 2 * params.phase))
    return both(Camera(0.1 * ramp * way[0] * jolt, 0.1 * ramp * way[1] * jolt))


def _knock(extent: Extent, t: float, params: Params, _: None) -> Views:
    """One hard knock in the middle of the clip that dies away."""
    age = t - 0.3 - params.onset
    if age <= 0:
        return both(Camera())
    swing = params.strength * math.exp(-5 * age)
    y = 0.34 * swing * math.cos(TAU * 6 * age) * smooth(age / 0.02)
    return both(Camera(0.0, y, 1.0, 0.14 * params.direction * swing * math.sin(TAU * 6 * age)))


def _roll(extent: Extent, t: float, params: Params, turns: float) -> Views:
    """The horizon turns by so many full turns."""
    return both(Camera(roll=params.direction * TAU * turns * params.progress(t)))


def _rock(extent: Extent, t: float, params: Params, swings: float) -> Views:
    """The horizon tips to and fro, as seen from a boat."""
    p = smooth((t - params.onset) / 0.15) * params.strength
    angle = 0.5 * params.direction * p * math.sin(TAU * swings * (t - params.onset))
    return both(Camera(0.0, 0.08 * p * math.sin(TAU * 2 * swings * (t - params.onset)), 1.0, angle))


CORNERS = {
    "up_left": (-1.0, -1.0),
    "up_right": (1.0, -1.0),
    "down_left": (-1.0, 1.0),
    "down_right": (1.0, 1.0),
}
MOVES = (
    *family(
        "pan",
        "camera",
        CORNERS,
        "the camera swings {value}",
        "camera",
        aim=_pan,
        margin=(0.5, 0.48),
    ),
    *family(
        "pan", "camera", {"round": 1.0}, "the camera swings in a circle", aim=_pan_round, margin=(0.32, 0.36)
    ),
    *family("zoom", "camera", CORNERS, "the camera zooms into the corner {value}", "closer", aim=_zoom),
    *family(
        "dolly",
        "camera",
        {"out": 0.5},
        "a dolly zoom: only the background recedes",
        "vertigo",
        aim=_dolly,
        margin=(0.52, 0.52),
    ),
    *family(
        "shake",
        "camera",
        {"sideways": (1.0, 0.0), "up_and_down": (0.0, 1.0)},
        "the camera shakes {value}",
        "jolt",
        aim=_shake,
        margin=(0.3, 0.3),
    ),
    *family(
        "shake", "camera", {"once": None}, "a knock hits the camera", "knock", aim=_knock, margin=(0.3, 0.5)
    ),
    *family(
        "roll",
        "camera",
        {"upside_down": 0.5, "full_circle": 1.0},
        "the camera rolls {value}",
        aim=_roll,
        margin=(0.8, 0.8),
    ),
    *family(
        "roll", "camera", {"to_and_fro": 2.0}, "the camera rocks as on a boat", aim=_rock, margin=(0.4, 0.6)
    ),
)
