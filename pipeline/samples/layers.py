"""The drawn layers of a scene (background, shadow, subject) and how a camera puts them together.

A frame in the making is a Pillow RGB image: its affine transforms, pastes and filters run in C.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from PIL import Image

from pipeline.samples.cutout import AFFINE, BILINEAR, Cutout, faint_ellipse
from pipeline.samples.lookup import Lookup
from pipeline.samples.subjects import SPAN, Part

Kept = TypeVar("Kept")
Region = tuple[float, float, float, float]  # left, top, right, bottom
Warp = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Camera:
    """Where a layer is seen from: the world point (x, y) in the middle, magnified and rolled (radians)."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0

    def then(self, other: "Camera") -> "Camera":
        """Both moves at once."""
        return Camera(self.x + other.x, self.y + other.y, self.zoom * other.zoom, self.roll + other.roll)


STILL = Camera()


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
        y = self.y + 1.0 - self.stretch_y
        return Pose(self.x, y, self.stretch_x, self.stretch_y, self.turn, self.opacity)

    def then(self, other: "Pose") -> "Pose":
        """Both at once."""
        return Pose(
            self.x + other.x,
            self.y + other.y,
            self.stretch_x * other.stretch_x,
            self.stretch_y * other.stretch_y,
            self.turn + other.turn,
            self.opacity * other.opacity,
        )


@dataclass
class Layers:
    """The layers of one scene at one frame size, as one camera sees them and one hand holds the subject.

    Attributes:
        background: covers ±`half` world units around the frame's middle.
        sprite: the subject's [-SPAN, SPAN], drawn for `drawn` world units of radius.
        centre, radius: where the subject is and how large, world units; it stands on y = `ground`.
        redraw: another silhouette in the subject's colours.
        far, near: what background and subject are seen from when a call names no camera.
        base: how the subject is held before a call's own pose.
        picture: stands in for the scene where an effect works on the whole picture.
        scope: whose things `once` keeps.
        shaded: whether the subject throws a shadow.
    """

    height: int
    width: int
    background: Image.Image
    half: tuple[float, float]
    sprite: Image.Image
    centre: tuple[float, float]
    radius: float
    redraw: Callable[[tuple[Part, ...]], Image.Image]
    ground: float
    drawn: float
    far: Camera = STILL
    near: Camera = STILL
    base: Pose | None = None
    picture: Image.Image | None = None
    scope: str = ""
    shaded: bool = True
    _kept: dict[tuple, object] = field(default_factory=dict, repr=False)

    @cached_property
    def unit(self) -> int:
        """Pixels in one world unit."""
        return min(self.height, self.width)

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the frame in world units."""
        return self.width / self.unit, self.height / self.unit

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `make` returns, computed for the first frame and kept for the others of the clip."""
        key = (self.scope, name)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def of_picture(self, name: str, make: Callable[[], Kept]) -> Kept:
        """Like `once`, but anew for every frame where the picture itself changes."""
        return self.once(name, make) if self.picture is None else make()

    def seen(self, far: Camera, near: Camera) -> "Layers":
        """The same scene from another place."""
        return self._with(far=far, near=near)

    def held(self, pose: Pose) -> "Layers":
        """The same scene with the subject moved or resized, or, for what only stands, held in any way."""
        if pose.turn or pose.opacity < 1 or pose.stretch_x != pose.stretch_y:
            return self._with(base=pose)
        x, y = self.centre
        centre = (x + pose.x * self.radius, y + pose.y * self.radius)
        return self._with(centre=centre, radius=self.radius * pose.stretch_x)

    def showing(self, picture: Image.Image) -> "Layers":
        """The same scene with this picture of it in its place."""
        return self._with(picture=picture)

    def of(self, scope: str) -> "Layers":
        """The same scene, keeping its things under this name."""
        return self._with(scope=scope)

    def before(self, colour: tuple[int, int, int]) -> "Layers":
        """The subject alone, in front of one colour."""
        return replace(self, background=Image.new("RGB", self.background.size, colour), shaded=False)

    def _with(self, **changes: object) -> "Layers":
        """`dataclasses.replace`, in a tenth of its time: it is needed several times a frame."""
        other = object.__new__(Layers)
        other.__dict__.update(self.__dict__, **changes)
        return other

    @property
    def scale(self) -> float:
        """Pixels of the frame to a pixel of the sprite."""
        return self.near.zoom * self.radius / self.drawn

    def world(self) -> tuple[np.ndarray, np.ndarray]:
        """World coordinates of the frame's pixels: x [1, width], y [height, 1]."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.unit
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.unit
        return x[None, :], y[:, None]

    def still(self) -> Image.Image:
        """The scene as it stands; drawn once, a fresh copy for every caller."""
        if self.picture is not None:
            return self.picture.copy()
        return self.once("still", lambda: self.shoot(STILL)).copy()

    def shoot(self, camera: Camera, near: Camera | None = None, pose: Pose | None = None) -> Image.Image:
        """The whole scene; `near` is the camera that the subject sees (parallax), default the same."""
        near, pose = near or camera, pose or Pose()
        frame = self.plate(camera)
        self.shadow(frame, pose, near)
        self.stand(frame, pose, near)
        return frame

    def posed(self, pose: Pose) -> Image.Image:
        """The whole scene with the subject held like this."""
        frame = self.plate()
        self.shadow(frame, pose)
        self.stand(frame, pose)
        return frame

    def plate(self, camera: Camera | None = None) -> Image.Image:
        """The background alone."""
        camera = camera or self.far
        if camera == STILL and self.shaded:
            return self.once("plate", lambda: self._view(STILL)).copy()
        if camera.zoom >= 1 and not camera.roll:
            return self._glimpse(camera)
        return self._view(camera)

    def _glimpse(self, camera: Camera) -> Image.Image:
        """What `_view` shows to within one grey level, in a third of the time; nothing may turn or shrink."""
        width, height = self.width / camera.zoom, self.height / camera.zoom
        left = (self.half[0] + camera.x) * self.unit - width / 2
        top = (self.half[1] + camera.y) * self.unit - height / 2
        right, bottom = self.background.size
        left, top = min(max(0.0, left), right - width), min(max(0.0, top), bottom - height)
        box = (left, top, left + width, top + height)
        return self.background.resize((self.width, self.height), BILINEAR, box=box)

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
        if not self.shaded:
            return
        pose, camera = self._pose(pose), camera or self.near
        raised = (self.ground - self.centre[1] - self.radius) / self.radius
        lift = max(0.0, 1.0 - pose.y - pose.stretch_y + raised)
        strength = 0.5 * pose.opacity / (1 + 2.0 * lift)
        half = 0.9 * self.radius * (min(abs(pose.stretch_x), 2.2) + 0.15) / (1 + 0.5 * lift)
        x = self.centre[0] + pose.x * self.radius
        width, height = (max(1, round(2 * k * half * camera.zoom * self.unit)) for k in (1.0, 0.22))
        mask = _shadow_mask(strength, width, height)
        left, top = self.to_pixel(x, self.ground, camera)
        box = (round(left - width / 2), round(top - height / 2))
        frame.paste((18, 14, 22), box, mask)

    def to_pixel(self, x: float, y: float, camera: Camera | None = None) -> tuple[float, float]:
        """The pixel (column, row) where a camera shows a world point."""
        camera = camera or self.near
        dx, dy = (x - camera.x) * camera.zoom * self.unit, (y - camera.y) * camera.zoom * self.unit
        if not camera.roll:
            return self.width / 2 + dx, self.height / 2 + dy
        cos, sin = math.cos(camera.roll), math.sin(camera.roll)
        return self.width / 2 + cos * dx - sin * dy, self.height / 2 + sin * dx + cos * dy

    def stand(
        self,
        frame: Image.Image,
        pose: Pose | None = None,
        camera: Camera | None = None,
        sprite: Image.Image | Cutout | None = None,
    ) -> None:
        """Put the subject (or another sprite of its size) into the frame, held as `pose` says."""
        pose, camera = self._pose(pose), camera or self.near
        cutout = self._cutout() if sprite is None else sprite
        cutout = cutout if isinstance(cutout, Cutout) else Cutout(cutout)
        if pose.opacity <= 0.004 or min(abs(pose.stretch_x), abs(pose.stretch_y)) < 1e-3:
            return
        x = self.centre[0] + pose.x * self.radius
        y = self.centre[1] + pose.y * self.radius
        scale = 2 * SPAN * self.radius * self.unit * camera.zoom / cutout.width
        cutout.place(
            frame,
            self.to_pixel(x, y, camera),
            (pose.stretch_x * scale, pose.stretch_y * scale),
            pose.turn + camera.roll,
            pose.opacity,
        )

    def _pose(self, pose: Pose | None) -> Pose:
        pose = pose or Pose()
        return pose if self.base is None else self.base.then(pose)

    def _cutout(self) -> Cutout:
        """The subject, ready to be placed."""
        kept = self._kept.get(("", "cutout"))
        if kept is None or kept.image is not self.sprite:
            kept = self._kept["", "cutout"] = Cutout(self.sprite)
        return kept

    def warp(
        self,
        frame: Image.Image,
        region: Region,
        warp: Warp,
    ) -> None:
        """Put the subject into the frame through a bend.

        Args:
            region: left, top, right, bottom of what may be touched, local units.
            warp: from local coordinates u [1, w], v [h, 1] in the result to those of the subject.
        """
        radius = self.radius * self.unit * self.near.zoom
        middle = self.to_pixel(*self.centre)
        if self.near.roll:
            region = _turned(region, self.near.roll)
        left = max(0, math.floor(middle[0] + region[0] * radius))
        top = max(0, math.floor(middle[1] + region[1] * radius))
        right = min(self.width, math.ceil(middle[0] + region[2] * radius))
        bottom = min(self.height, math.ceil(middle[1] + region[3] * radius))
        if right <= left or bottom <= top:
            return
        u = (np.arange(left, right, dtype=np.float32) + 0.5 - np.float32(middle[0])) / np.float32(radius)
        v = (np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(middle[1])) / np.float32(radius)
        u, v = u[None, :], v[:, None]
        if self.near.roll:
            cos, sin = np.float32(math.cos(self.near.roll)), np.float32(math.sin(self.near.roll))
            u, v = cos * u + sin * v, cos * v - sin * u
        from_u, from_v = warp(u, v)
        scale = np.float32(self.sprite.width / (2 * SPAN))
        column, row = (from_u + np.float32(SPAN)) * scale, (from_v + np.float32(SPAN)) * scale
        bent = self.once("sprite", lambda: Lookup(self.sprite)).at(column, row)
        frame.paste(bent, (left, top), bent)


def _turned(region: Region, roll: float) -> Region:
    """The upright box around a box that is turned about the origin."""
    corners = [
        (math.cos(roll) * x - math.sin(roll) * y, math.sin(roll) * x + math.cos(roll) * y)
        for x in region[::2]
        for y in region[1::2]
    ]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


@lru_cache(maxsize=256)
def _shadow_mask(strength: float, width: int, height: int) -> Image.Image:
    return faint_ellipse(96, strength).resize((width, height), BILINEAR)
