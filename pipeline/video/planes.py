"""Pictures as the encoder takes them: 4:2:0 planes, BT.601, limited range, one below the other.

A clip stays in this form from the decoder to the encoder. Most videos are 4:2:0 already, and the way through
RGB and back costs as much as decoding them does.
"""

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

FORMAT = "yuv420p"
# Luma of black and of white.
BLACK, WHITE = 16, 235


def luma(planes: np.ndarray) -> np.ndarray:
    """The luma [..., height, width] of planes uint8 [..., height * 3 / 2, width]; a view."""
    return planes[..., : planes.shape[-2] * 2 // 3, :]


def chroma(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cb and Cr, each [n, height / 2, width / 2], of planes uint8 [n, height * 3 / 2, width]."""
    count, rows, width = planes.shape
    height = rows * 2 // 3
    both = planes[:, height:].reshape(count, 2, height // 2, width // 2)
    return both[:, 0], both[:, 1]


def from_rgb(picture: np.ndarray, scaler: VideoReformatter | None = None) -> np.ndarray:
    """Planes uint8 [height * 3 / 2, width] of RGB uint8 [height, width, 3]; even sizes.

    A caller with many pictures hands in one `scaler` for all.
    """
    frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")
    return (
        (scaler or VideoReformatter())
        .reformat(
            frame,
            format=FORMAT,
            interpolation="BICUBIC",
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        .to_ndarray()
    )


def to_rgb(
    frame: av.VideoFrame, scaler: VideoReformatter | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a frame in this form, made smaller to (width, height) where asked."""
    width, height = size or (frame.width, frame.height)
    return (
        (scaler or VideoReformatter())
        .reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation="AREA" if size else "BICUBIC",
            src_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        .to_ndarray()
    )


def frame_of(planes: np.ndarray) -> av.VideoFrame:
    """A frame of planes uint8 [height * 3 / 2, width]."""
    return av.VideoFrame.from_ndarray(planes, format=FORMAT)
