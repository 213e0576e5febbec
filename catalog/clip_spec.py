"""The geometry that every clip of a catalogue is stored in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from catalog.errors import InvalidClipSpec


@dataclass(frozen=True)
class ClipSpec:
    """Frames, rate and size of a stored clip.

    Args:
        num_frames: frames per clip; 1 more than a multiple of 4, because the video VAE keeps the first frame
            and then folds four frames into one.
        fps: frames per second.
        height: pixels, a multiple of 16 (8× VAE, then 2×2 patches).
        width: pixels, a multiple of 16.

    Raises:
        InvalidClipSpec: a value that breaks one of these rules.
    """

    num_frames: int = 49
    fps: int = 8
    height: int = 480
    width: int = 720

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidClipSpec(
                    f"The clip spec's {name} is {value!r}; it must be a whole number of at least 1."
                )
        if self.num_frames % 4 != 1:
            below = self.num_frames - (self.num_frames - 1) % 4
            raise InvalidClipSpec(
                f"A clip of {self.num_frames} frames does not fit the video VAE; "
                f"use 1 more than a multiple of 4, such as {below} or {below + 4}."
            )
        for name in ("height", "width"):
            value = getattr(self, name)
            if value % 16:
                below = max(16, value // 16 * 16)
                raise InvalidClipSpec(
                    f"A clip {name} of {value} pixels is not a multiple of 16; "
                    f"use {below} or {value // 16 * 16 + 16}."
                )

    @property
    def spec_id(self) -> str:
        """Short name, for example `49f-8fps-480x720` (frames, rate, height × width)."""
        return f"{self.num_frames}f-{self.fps}fps-{self.height}x{self.width}"

    @property
    def duration(self) -> float:
        """Seconds that a clip plays: every frame is shown for 1/fps."""
        return self.num_frames / self.fps

    def to_json(self) -> str:
        """One JSON object with the four numbers."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClipSpec:
        """Read what `to_json` wrote.

        Raises:
            InvalidClipSpec: the text is something else.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InvalidClipSpec(f"{text[:80]!r} is not a clip spec; expected {cls().to_json()}.") from error
