"""What a container says of its video, before a frame of the clip is decoded."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VideoFacts:
    """One video stream. `timestamps` [n]: presentation times in seconds, ascending, of the frames shown.

    `matrix` is the display matrix's upper left 2x2 (a, b, c, d) where it turns or mirrors, else None.
    `timestamps_stated` is False where times had to be counted, because the container states none.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    aspect: float
    rotation: int
    matrix: tuple[int, int, int, int] | None
    fps: float
    duration: float
    timestamps: np.ndarray
    timestamps_stated: bool
    stream_index: int
    interlaced: bool
    open_gop: bool
    changes_size: bool
    alpha_layer: bool
    key_times: np.ndarray
    bytes: int

    @property
    def turned(self) -> bool:
        """Whether width and height change places on the way to the screen."""
        return self.matrix is not None and abs(self.matrix[1]) > abs(self.matrix[0])

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture as shown, in stored pixels."""
        return (self.height, self.width) if self.turned else (self.width, self.height)

    @property
    def upright_aspect(self) -> float:
        """Sample aspect ratio as shown."""
        return 1 / self.aspect if self.turned else self.aspect

    def describe(self) -> dict:
        """The columns of `clips` that say what the source was."""
        return {
            "codec": self.codec,
            "container": self.container,
            "source_width": self.width,
            "source_height": self.height,
            "source_fps": self.fps,
            "source_frames": len(self.timestamps),
            "source_duration": self.duration,
            "rotation": self.rotation,
            "sample_aspect_ratio": self.aspect,
        }
