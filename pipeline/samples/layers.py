"""The drawn layers of a scene (background, shadow, subject) and how a camera puts them together.

A frame in the making is a Pillow RGB image: its affine transforms, pastes and filters run in C.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from PIL import Image

from pipeline.samples.lookup import Lookup
from pipeline.samples.subjects import SPAN

BILINEAR = Image.Resampling.BILINEAR
AFFINE = Image.Transform.AFFINE
Kept = TypeVar("Kept")
Warp = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Camera:
    """Where a layer is seen from: the world point (x, y) in the middle, magnified and rolled (radians)."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0


@dataclass(frozen=True)
class Pose:
    """How a subject is held, in units of its radius: moved, stretched, turned (radians), faded."""

    x: float = 0.0
    y: float = 0.0
    stretch_x: float = 1.0
    stretch_y: float = 1.0
    turn: float = 0.0
    opacity: float = 1.0

    def grounded(self) -> "Pose":
        """The same pose with the subject's base kept on the ground while its height changes."""
        return replace(self, y=self.y + 1.0 - self.stretch_y)


@dataclass
class Layers:
    """The layers of one scene at one frame size.

    `background` covers ±`half` world units around the frame's middle, `sprite` the subject's [-SPAN, SPAN].
    """

    height: int
    width: int
    background: Image.Image
    half: tuple[float, float]
    sprite: Image.Image
    centre: tuple[float, float]
    radius: float
    _kept: dict[str, object] = field(default_factory=dict, repr=False)

    @property
    def unit(self) -> int:
        """Pixels in one world unit."""
        return min(self.height, self.width)

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the frame in world units."""
        return self.width / self.unit, self.height / self.unit

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` returns, computed for the first frame and kept for the others of the clip."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def world(self) -> tuple[np.ndarray, np.ndarray]:
        """World coordinates of the frame's pixels: x [1, width], y [height, 1]."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.unit
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.unit
        return x[None, :], y[:, None]

    def still(self) -> Image.Image:
        """The scene as it stands; drawn once, a fresh copy for every caller."""
        return self.once("still", lambda: self.shoot(Camera())).copy()

    def shoot(self, camera: Camera, near: Camera | None = None, pose: Pose | None = None) -> Image.Image:
        """The whole scene; `near` is the camera that the subject sees (parallax), default the same."""
        near, pose = near or camera, pose or Pose()
        frame = self.plate(camera)
        self.shadow(frame, pose, near)
        self.stand(frame, pose, near)
        return frame

    def plate(self, camera: Camera | None = None) -> Image.Image:
        """The background alone."""
        if camera is None or camera == Camera():
            return self.once("plate", lambda: self._view(Camera())).copy()
        return self._view(camera)

    def _view(self, camera: Camera) -> Image.Image:
        scale = 1 / camera.zoom
        cos, sin = math.cos(camera.roll) * scale, math.sin(camera.roll) * scale
        left = (self.half[0] + camera.x) * self.unit
        top = (self.half[1] + camera.y) * self.unit
        middle_x, middle_y = self.width / 2, self.height / 2
        data = (cos, sin, left - cos * middle_x - sin * middle_y)
        data += (-sin, cos, top + sin * middle_x - cos * middle_y)
        return self.background.transform((self.width, self.height), AFFINE, data, BILINEAR)

    def shadow(self, frame: Image.Image, pose: Pose | None = None, camera: Camera | None = None) -> None:
        """Darken the ground under the subject; a lifted subject's shadow is smaller and paler."""
        pose, camera = pose or Pose(), camera or Camera()
        lift = max(0.0, 1.0 - pose.y - pose.stretch_y)
        strength = 0.5 * pose.opacity / (1 + 2.0 * lift)
        half = 0.9 * self.radius * (min(abs(pose.stretch_x), 2.2) + 0.15) / (1 + 0.5 * lift)
        x = self.centre[0] + pose.x * self.radius
        ground = self.centre[1] + self.radius
        mask = self.once("shadow", lambda: soft_ellipse(96)).point(lambda v: round(v * strength))
        width, height = (max(1, round(2 * k * half * camera.zoom * self.unit)) for k in (1.0, 0.22))
        mask = mask.resize((width, height), BILINEAR)
        left, top = self.to_pixel(x, ground, camera)
        box = (round(left - width / 2), round(top - height / 2))
        frame.paste((18, 14, 22), box, mask)

    def to_pixel(self, x: float, y: float, camera: Camera | None = None) -> tuple[float, float]:
        """The pixel (column, row) where a camera shows a world point."""
        camera = camera or Camera()
        dx, dy = (x - camera.x) * camera.zoom * self.unit, (y - camera.y) * camera.zoom * self.unit
        cos, sin = math.cos(camera.roll), math.sin(camera.roll)
        return self.width / 2 + cos * dx - sin * dy, self.height / 2 + sin * dx + cos * dy

    def stand(
        self,
        frame: Image.Image,
        pose: Pose | None = None,
        camera: Camera | None = None,
        sprite: Image.Image | None = None,
    ) -> None:
        """Put the subject (or another sprite of its size) into the frame, held as `pose` says."""
        pose, camera, sprite = pose or Pose(), camera or Camera(), sprite or self.sprite
        if pose.opacity <= 0.004 or min(abs(pose.stretch_x), abs(pose.stretch_y)) < 1e-3:
            return
        x = self.centre[0] + pose.x * self.radius
        y = self.centre[1] + pose.y * self.radius
        scale = 2 * SPAN * self.radius * self.unit * camera.zoom / sprite.width
        place(
            frame,
            sprite,
            self.to_pixel(x, y, camera),
            (pose.stretch_x * scale, pose.stretch_y * scale),
            pose.turn + camera.roll,
            pose.opacity,
        )

    def warp(
        self,
        frame: Image.Image,
        region: tuple[float, float, float, float],
        warp: Warp,
    ) -> None:
        """Put the subject into the frame through a bend.

        Args:
            region: left, top, right, bottom of what may be touched, local units.
            warp: from local coordinates u [1, w], v [h, 1] in the result to those of the subject.
        """
        radius = self.radius * self.unit
        middle = self.to_pixel(*self.centre)
        left = max(0, math.floor(middle[0] + region[0] * radius))
        top = max(0, math.floor(middle[1] + region[1] * radius))
        right = min(self.width, math.ceil(middle[0] + region[2] * radius))
        bottom = min(self.height, math.ceil(middle[1] + region[3] * radius))
        if right <= left or bottom <= top:
            return
        u = (np.arange(left, right, dtype=np.float32) + 0.5 - np.float32(middle[0])) / np.float32(radius)
        v = (np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(middle[1])) / np.float32(radius)
        from_u, from_v = warp(u[None, :], v[:, None])
        scale = np.float32(self.sprite.width / (2 * SPAN))
        shape = (bottom - top, right - left)
        column = np.broadcast_to((from_u + np.float32(SPAN)) * scale, shape)
        row = np.broadcast_to((from_v + np.float32(SPAN)) * scale, shape)
        bent = self.once("sprite", lambda: Lookup(self.sprite)).at(column, row)
        frame.paste(bent.convert("RGB"), (left, top), bent.getchannel("A"))


def place(
    frame: Image.Image,
    sprite: Image.Image,
    middle: tuple[float, float],
    scale: tuple[float, float],
    turn: float = 0.0,
    opacity: float = 1.0,
) -> None:
    """Paste an RGBA sprite around the pixel `middle`, scaled (negative mirrors) and turned (radians)."""
    if min(abs(scale[0]), abs(scale[1])) < 0.5 and min(sprite.size) > 8:
        halved = sprite.reduce(2)
        scale = (scale[0] * sprite.width / halved.width, scale[1] * sprite.height / halved.height)
        if min(abs(scale[0]), abs(scale[1])) < 0.02:
            return
        place(frame, halved, middle, scale, turn, opacity)
        return
    cos, sin = math.cos(turn), math.sin(turn)
    half_x, half_y = abs(scale[0]) * sprite.width / 2, abs(scale[1]) * sprite.height / 2
    reach_x = abs(cos) * half_x + abs(sin) * half_y
    reach_y = abs(sin) * half_x + abs(cos) * half_y
    left = max(0, math.floor(middle[0] - reach_x))
    top = max(0, math.floor(middle[1] - reach_y))
    right = min(frame.width, math.ceil(middle[0] + reach_x))
    bottom = min(frame.height, math.ceil(middle[1] + reach_y))
    if right <= left or bottom <= top:
        return
    a, b = cos / scale[0], sin / scale[0]
    d, e = -sin / scale[1], cos / scale[1]
    dx, dy = left - middle[0], top - middle[1]
    data = (a, b, a * dx + b * dy + sprite.width / 2, d, e, d * dx + e * dy + sprite.height / 2)
    shown = sprite.transform((right - left, bottom - top), AFFINE, data, BILINEAR)
    mask = shown.getchannel("A")
    if opacity < 1:
        mask = mask.point(lambda value: round(value * opacity))
    frame.paste(shown.convert("RGB"), (left, top), mask)


def soft_ellipse(size: int) -> Image.Image:
    """A mask, opaque in the middle and soft towards its edge: for shadows, smoke and light."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    falloff = np.clip(1.25 * (1 - np.hypot(axis[None, :], axis[:, None])), 0, 1)
    return Image.fromarray((255 * falloff).astype(np.uint8))
