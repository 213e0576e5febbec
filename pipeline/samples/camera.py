"""Effects of the camera: background and subject move together, the nearer subject a little more."""

import math

from PIL import Image

from pipeline.samples.effect import Effect, Extent, Params, Views, aiming, mix, smooth
from pipeline.samples.layers import Camera, Layers, Pose

TAU = 2 * math.pi
PARALLAX = 1.2  # how much further the subject moves than the background
PAN, TILT, ORBIT, WIDE = 0.42, 0.4, 0.9, 0.5  # frame widths, frame heights, frame widths, smallest zoom


def travel(extent: Extent, share_x: float, share_y: float) -> Views:
    """The camera moved by a share of the frame."""
    wide, tall = extent
    x, y = share_x * wide, share_y * tall
    return Camera(x, y), Camera(PARALLAX * x, PARALLAX * y)


def both(camera: Camera) -> Views:
    """Background and subject seen from the same place."""
    return camera, camera


def pan_left(extent: Extent, t: float, params: Params) -> Views:
    """Everything slides to the right."""
    return travel(extent, -PAN * params.strength * params.progress(t), 0)


def pan_right(extent: Extent, t: float, params: Params) -> Views:
    """Everything slides to the left."""
    return travel(extent, PAN * params.strength * params.progress(t), 0)


def tilt_up(extent: Extent, t: float, params: Params) -> Views:
    """Everything slides down and more of what is above comes into view."""
    return travel(extent, 0, -TILT * params.strength * params.progress(t))


def tilt_down(extent: Extent, t: float, params: Params) -> Views:
    """Everything slides up and more of the ground comes into view."""
    return travel(extent, 0, TILT * params.strength * params.progress(t))


def zoom_in(extent: Extent, t: float, params: Params) -> Views:
    """Subject and background grow together."""
    return both(Camera(zoom=1 + 1.3 * params.strength * params.progress(t)))


def zoom_out(extent: Extent, t: float, params: Params) -> Views:
    """Subject and background become smaller together."""
    return both(Camera(zoom=mix(1.0, max(WIDE, 0.55 / params.strength), params.progress(t))))


def orbit(layers: Layers, t: float, params: Params) -> Image.Image:
    """The camera walks around: the subject stays in the middle and turns, the background rushes past."""
    p = params.progress(t)
    wide, _ = layers.extent
    angle = math.pi * p
    slim = math.cos(angle)
    slim = math.copysign(max(abs(slim), 0.12), slim)
    far = Camera(x=params.direction * ORBIT * wide * p, zoom=1 + 0.12 * math.sin(angle))
    near = Camera(x=0.0, zoom=far.zoom)
    frame = layers.plate(far)
    pose = Pose(stretch_x=slim)
    layers.shadow(frame, pose, near)
    layers.stand(frame, pose, near)
    return frame


def dolly(extent: Extent, t: float, params: Params) -> Views:
    """A dolly zoom: the subject keeps its size while the background rushes towards it."""
    far = Camera(zoom=1 + 1.9 * params.strength * params.progress(t))
    return far, Camera()


def shake(extent: Extent, t: float, params: Params) -> Views:
    """Jolts in all directions, several times a second."""
    ramp = smooth((t - params.onset) / 0.12) * params.strength
    start = TAU * params.phase
    x = math.sin(TAU * 9.3 * t + start) + 0.6 * math.sin(TAU * 14.7 * t + 2 * start)
    y = math.sin(TAU * 11.1 * t + 3 * start) + 0.6 * math.sin(TAU * 7.9 * t + 5 * start)
    roll = 0.05 * ramp * math.sin(TAU * 10.3 * t)
    return both(Camera(0.055 * ramp * x, 0.055 * ramp * y, 1.0, roll))


def roll(extent: Extent, t: float, params: Params) -> Views:
    """The horizon turns."""
    angle = params.direction * 1.25 * params.strength * params.progress(t)
    return both(Camera(roll=angle))


def _effect(name: str, aim, description: str, margin: tuple[float, float], *synonyms: str) -> Effect:
    return Effect(name, "camera", description, aiming(aim), synonyms, margin, aim=aim)


CAMERA_MOVES: tuple[Effect, ...] = (
    _effect("pan_left", pan_left, "the camera swings to the left", (0.5, 0), "pan", "camera", "left"),
    _effect("pan_right", pan_right, "the camera swings to the right", (0.5, 0), "pan", "camera", "right"),
    _effect("zoom_in", zoom_in, "the camera zooms in", (0, 0), "zoom", "closer", "approach"),
    _effect("zoom_out", zoom_out, "the camera zooms out", (0.52, 0.52), "zoom", "away", "wider"),
    Effect(
        "orbit",
        "camera",
        "the camera circles the subject",
        orbit,
        ("circle", "around", "circling"),
        (1.0, 0.05),
    ),
    _effect("dolly", dolly, "a dolly zoom: only the background comes closer", (0, 0), "vertigo", "hitchcock"),
    _effect("shake", shake, "the camera shakes", (0.25, 0.25), "tremble", "jolt", "earthquake", "shaky"),
    _effect("tilt_up", tilt_up, "the camera looks up", (0, 0.48), "tilt", "up", "upwards"),
    _effect("tilt_down", tilt_down, "the camera looks down", (0, 0.48), "tilt", "down", "downwards"),
    _effect("roll", roll, "the camera rolls about its axis", (0.8, 0.8), "rotate", "tilted"),
)
