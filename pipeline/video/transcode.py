"""Writing our own videos and reading them back: H.264 4:2:0 in MP4 that starts playing before it is loaded.

Colours are BT.601, limited range, and tagged so: readers that honour tags and readers that assume the
standard for small pictures agree about them.
"""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.video import planes

CRF = 19
PRESET = "veryfast"
# Macroblock trees make x264 read memory it has not written: the same frames gave other bytes each time.
_REPEATABLE = "mbtree=0"
POSTER_QUALITY = 85


def encode_video(
    frames: np.ndarray | Iterable[np.ndarray], fps: int | Fraction, crf: int = CRF, comment: str = ""
) -> bytes:
    """One MP4 of RGB frames uint8 [n, height, width, 3], or an iterable of such; see `encode_planes`."""
    frames, scaler = list(frames), VideoReformatter()
    _check_size(*frames[0].shape[:2])
    return encode_planes([planes.from_rgb(picture, scaler) for picture in frames], fps, crf, comment)


def encode_planes(
    pictures: Sequence[np.ndarray], fps: int | Fraction, crf: int = CRF, comment: str = ""
) -> bytes:
    """One MP4 of `planes`.

    Args:
        pictures: uint8 [n, height * 3 / 2, width]; even sizes.
        fps: frames per second, every frame shown for 1/fps.
        crf: constant rate factor of x264, lower is better and larger.
        comment: kept in the file's metadata under that name.

    Returns:
        The file's bytes; the same frames always give the same bytes.
    """
    buffer = io.BytesIO()
    # The header is written last into room kept free at the front: players start at once, no second pass.
    options = {
        "movflags": "+negative_cts_offsets",
        "moov_size": str(4096 + 48 * len(pictures) + len(comment.encode())),
        "fflags": "bitexact",
    }
    with av.open(buffer, "w", format="mp4", container_options=options) as container:
        if comment:
            container.metadata["comment"] = comment
        rows, width = pictures[0].shape
        stream = _add_stream(container, rows * 2 // 3, width, fps, crf)
        for number, picture in enumerate(pictures):
            frame = planes.frame_of(picture)
            frame.pts, frame.time_base = number, stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def _check_size(height: int, width: int) -> None:
    if height % 2 or width % 2:
        raise PipelineError(f"A video of {width}x{height} cannot be H.264 4:2:0; both must be even.")


def _add_stream(container, height: int, width: int, fps: int | Fraction, crf: int):
    stream = container.add_stream("libx264", rate=Fraction(fps))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / Fraction(fps)
    context.thread_count = 1
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.SMPTE170M
    context.color_primaries = ColorPrimaries.SMPTE170M
    context.color_trc = ColorTrc.SMPTE170M
    stream.options = {"preset": PRESET, "crf": str(crf), "x264-params": _REPEATABLE, "flags": "+bitexact"}
    return stream


def write_video(frames: np.ndarray | Iterable[np.ndarray], fps: int | Fraction, path: str | Path) -> Path:
    """Write RGB frames uint8 [n, height, width, 3] as an MP4 that a browser plays; returns the path."""
    path = Path(path)
    path.write_bytes(encode_video(frames, fps))
    return path


def encode_poster(frame: np.ndarray) -> bytes:
    """A JPEG of one RGB frame uint8 [height, width, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=POSTER_QUALITY)
    return buffer.getvalue()


def read_clip(video: bytes) -> np.ndarray:
    """The frames of one of our own stored videos, RGB uint8 [n, height, width, 3].

    For videos that this module wrote: nothing is guarded against here; other files go through the
    sandbox (`example.read_example`).
    """
    with av.open(io.BytesIO(video), format="mov,mp4,m4a,3gp,3g2,mj2") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        scaler = VideoReformatter()
        pictures = [planes.to_rgb(frame, scaler) for frame in container.decode(stream)]
    return np.stack(pictures)
