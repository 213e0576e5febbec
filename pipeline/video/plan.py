"""Which frames make a clip, and where their pixels go: pure plans, tested with numbers."""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from catalog.clip_spec import ClipSpec

TimePolicy = Literal["uniform", "realtime"]
Fit = Literal["crop", "pad", "stretch"]

# Presentation times are rounded by containers (milliseconds in Matroska): a frame this early counts as shown.
TIME_TOLERANCE = 1.5e-3
# A clip shorter than its window is completed by holding its last frame when it fills this much of it.
SHORTEST_WINDOW = 0.5


class TooFewFrames(ValueError):
    """The video has fewer distinct frames, or less time, than the policy needs.

    `beyond`: the window lies where the video is over.
    """

    def __init__(self, message: str, beyond: bool = False):
        super().__init__(message)
        self.beyond = beyond


@dataclass(frozen=True)
class FramePlan:
    """One clip of a video: `indices` [num_frames] into its timestamps, never descending.

    `key` names the window within the source and goes into the clip's identity; `start` and `end` are seconds.
    """

    indices: np.ndarray
    start: float
    end: float
    key: str


@dataclass(frozen=True)
class Window:
    """A part of a video, both ends included: in seconds from its first frame, or in frame numbers from 0."""

    unit: Literal["seconds", "frames"]
    start: float
    end: float

    @classmethod
    def parse(cls, text: str) -> "Window":
        """The window that `seconds:1.5-4` or `frames:10-58` names.

        Raises:
            ValueError: of another form, or it ends before it begins.
        """
        unit, _, ends = text.partition(":")
        start, _, end = ends.partition("-")
        if unit not in ("seconds", "frames") or not 0 <= float(start) < float(end):
            raise ValueError(f"{text!r} is no window such as seconds:1.5-4 or frames:10-58")
        return cls(unit, float(start), float(end))

    def __str__(self) -> str:
        return f"{self.unit}:{self.start:.12g}-{self.end:.12g}"

    def describe(self) -> str:
        """Say it to people: `3 to 6 s`, `frames 10 to the end`."""
        end = "the end" if math.isinf(self.end) else f"{self.end:g}"
        return f"{self.start:g} to {end} s" if self.unit == "seconds" else f"frames {self.start:g} to {end}"

    def select(self, timestamps: np.ndarray) -> slice:
        """Which of the frames with these times lie in the window."""
        if self.unit == "frames":
            return slice(int(self.start), None if math.isinf(self.end) else int(self.end) + 1)
        since = np.asarray(timestamps) - timestamps[0] if len(timestamps) else np.empty(0)
        first = int(np.searchsorted(since, self.start - TIME_TOLERANCE))
        return slice(first, int(np.searchsorted(since, self.end + TIME_TOLERANCE)))


def plan_window(
    timestamps: np.ndarray,
    window: Window,
    spec: ClipSpec,
    policy: TimePolicy = "uniform",
    min_frames: int = 2,
) -> tuple[FramePlan, ...]:
    """`plan_frames` within a part of the video; indices and times are those of the whole.

    Raises:
        TooFewFrames: the part holds too few frames.
    """
    part = window.select(timestamps)
    if not len(timestamps[part]):
        lasts = f"{len(timestamps)} frames"
        if window.unit == "seconds" and len(timestamps) > 1:
            lasts = f"{timestamps[-1] - timestamps[0] + float(np.median(np.diff(timestamps))):.2f} s"
        raise TooFewFrames(f"it lasts {lasts}, and its window is {window.describe()}", beyond=True)
    try:
        plans = plan_frames(timestamps[part], spec, policy, min_frames)
    except TooFewFrames as error:
        raise TooFewFrames(f"in its window, {window.describe()}, {error}") from error
    return tuple(
        replace(plan, indices=plan.indices + part.start, key=plan.key + _suffix(window)) for plan in plans
    )


def _suffix(window: Window | None) -> str:
    return "" if window is None else f"@{window}"


def plan_keys(policy: TimePolicy, most: int, window: str | None) -> list[str]:
    """The keys that the plans of a video can have: at most `most`, all within `window` where there is one."""
    suffix = _suffix(window and Window.parse(window))
    count = 1 if policy == "uniform" else most
    return [("uniform" if policy == "uniform" else f"realtime:{i}") + suffix for i in range(count)]


def plan_frames(
    timestamps: np.ndarray, spec: ClipSpec, policy: TimePolicy = "uniform", min_frames: int = 2
) -> tuple[FramePlan, ...]:
    """Choose which decoded frames make a clip, by presentation time.

    A clip's frame k shows what a player shows at its time: the last frame presented at or before it.
    `uniform` spreads spec.num_frames over the whole video, first and last frame included (Video2LoRA,
    sec. 4.1); with fewer source frames than that, frames repeat. `realtime` steps 1/spec.fps seconds and
    returns as many whole windows as fit, dropping the remainder; a video shorter than one window is completed
    by holding its last frame, if it fills at least half of the window.

    Args:
        timestamps: presentation time of every frame, seconds, ascending, shape [n].
        spec: the geometry to fill.
        min_frames: the fewest distinct frames worth a clip.

    Raises:
        TooFewFrames: fewer than `min_frames` frames, or too short for `realtime`.
    """
    timestamps = np.asarray(timestamps, dtype=np.float64)
    count = len(timestamps)
    if count < max(1, min_frames):
        plural = "frame" if count == 1 else "frames"
        raise TooFewFrames(f"it has {count} {plural} and a clip needs at least {min_frames}")
    if policy == "uniform":
        targets = np.linspace(timestamps[0], timestamps[-1], spec.num_frames)
        return (_window(timestamps, targets, "uniform"),)
    # The last frame is shown for as long as frames usually are.
    shown = float(np.median(np.diff(timestamps))) if count > 1 else 1 / spec.fps
    length = timestamps[-1] - timestamps[0] + shown
    window = spec.num_frames / spec.fps
    steps = np.arange(spec.num_frames) / spec.fps
    whole = int((length + TIME_TOLERANCE) // window)
    if whole == 0:
        if length < SHORTEST_WINDOW * window:
            raise TooFewFrames(
                f"it lasts {length:.2f} s and a realtime clip needs at least {SHORTEST_WINDOW * window:.2f} s"
            )
        whole = 1
    starts = timestamps[0] + window * np.arange(whole)
    return tuple(_window(timestamps, start + steps, f"realtime:{i}") for i, start in enumerate(starts))


def _window(timestamps: np.ndarray, targets: np.ndarray, key: str) -> FramePlan:
    indices = np.searchsorted(timestamps, targets + TIME_TOLERANCE, side="right") - 1
    indices = np.clip(indices, 0, len(timestamps) - 1)
    return FramePlan(indices, float(targets[0]), float(targets[-1]), key)


@dataclass(frozen=True)
class FitPlan:
    """How an upright picture fills the clip's geometry.

    It is scaled to `width` × `height`; `left`, `top` is the offset of the clip's window in the scaled picture
    (crop) or of the scaled picture in the clip's window (pad). Offsets are even, and so is a padded picture's
    size, because colour has half the resolution.
    """

    width: int
    height: int
    left: int
    top: int
    fit: Fit


class Bars(NamedTuple):
    """Shares of a picture's height (top, bottom) and width (left, right) that letterbox bars take."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0


def plan_fit(
    width: int, height: int, aspect: float, spec: ClipSpec, fit: Fit = "crop", bars: Bars | None = None
) -> FitPlan:
    """Scale and offset that bring an upright picture of `width` × `height` to the spec's geometry.

    Args:
        width, height: size of the upright picture in stored pixels (after rotation).
        aspect: sample aspect ratio after rotation, width of a pixel over its height.
        fit: `crop` fills and cuts what sticks out, `pad` keeps everything on black, `stretch` ignores shape.
        bars: what is to be left out of the picture; what lies within then fills the window.
    """
    if width < 1 or height < 1 or not aspect > 0:
        raise ValueError(f"A picture of {width}x{height} with pixel aspect {aspect} has no shape.")
    if bars is not None and any(bars):
        return _fit_inside(width * aspect, height, spec, fit, bars)
    if fit == "stretch":
        return FitPlan(spec.width, spec.height, 0, 0, fit)
    shown = width * aspect
    across, down = spec.width / shown, spec.height / height
    scale = max(across, down) if fit == "crop" else min(across, down)
    if fit == "crop":
        # Rounding must never leave the window uncovered.
        scaled_w = max(spec.width, round(shown * scale))
        scaled_h = max(spec.height, round(height * scale))
        left, top = (scaled_w - spec.width) // 2, (scaled_h - spec.height) // 2
        return FitPlan(scaled_w, scaled_h, _even(left), _even(top), fit)
    scaled_w = min(spec.width, max(2, _nearest_even(shown * scale)))
    scaled_h = min(spec.height, max(2, _nearest_even(height * scale)))
    left, top = (spec.width - scaled_w) // 2, (spec.height - scaled_h) // 2
    return FitPlan(scaled_w, scaled_h, _even(left), _even(top), fit)


def _even(offset: int) -> int:
    return offset - offset % 2


def _nearest_even(size: float) -> int:
    return 2 * round(size / 2)


def _fit_inside(shown: float, height: float, spec: ClipSpec, fit: Fit, bars: Bars) -> FitPlan:
    """The plan whose window the picture within the bars fills, as `fit` says."""
    across = spec.width / (shown * (1 - bars.left - bars.right))
    down = spec.height / (height * (1 - bars.top - bars.bottom))
    if fit != "stretch":
        across = down = max(across, down) if fit == "crop" else min(across, down)
    scaled_w, scaled_h = _nearest_even(shown * across), _nearest_even(height * down)
    # The middle of the picture within the bars comes to the middle of the window.
    left = round(scaled_w * (1 + bars.left - bars.right) / 2 - spec.width / 2)
    top = round(scaled_h * (1 + bars.top - bars.bottom) / 2 - spec.height / 2)
    if fit == "pad":
        return FitPlan(scaled_w, scaled_h, _even(-left), _even(-top), fit)
    scaled_w, scaled_h = max(scaled_w, spec.width), max(scaled_h, spec.height)
    left, top = min(max(left, 0), scaled_w - spec.width), min(max(top, 0), scaled_h - spec.height)
    return FitPlan(scaled_w, scaled_h, _even(left), _even(top), fit)


def window_filters(plan: FitPlan, spec: ClipSpec) -> list[tuple[str, str]]:
    """FFmpeg's filters that do with a scaled picture what `place` does."""
    if plan.fit != "pad":
        whole = (plan.width, plan.height) == (spec.width, spec.height)
        return [] if whole else [("crop", f"{spec.width}:{spec.height}:{plan.left}:{plan.top}")]
    left, top = max(plan.left, 0), max(plan.top, 0)
    width = min(plan.width + min(plan.left, 0), spec.width - left)
    height = min(plan.height + min(plan.top, 0), spec.height - top)
    visible = ("crop", f"{width}:{height}:{left - plan.left}:{top - plan.top}")
    return [visible, ("pad", f"{spec.width}:{spec.height}:{left}:{top}:black")]


def place(picture: np.ndarray, plan: FitPlan, spec: ClipSpec) -> np.ndarray:
    """A scaled upright picture uint8 [plan.height, plan.width, 3] in the clip's window [height, width, 3]."""
    if plan.fit == "pad":
        window = np.zeros((spec.height, spec.width, 3), dtype=np.uint8)
        # Where bars were left out, parts of the picture may lie outside.
        top, left = max(plan.top, 0), max(plan.left, 0)
        part = picture[top - plan.top :, left - plan.left :][: spec.height - top, : spec.width - left]
        window[top : top + part.shape[0], left : left + part.shape[1]] = part
        return window
    return picture[plan.top : plan.top + spec.height, plan.left : plan.left + spec.width]
