"""Write one clip as a video file in a given format."""

import struct
from pathlib import Path

import av
import numpy as np

from pipeline.samples.formats import ClipFormat
from pipeline.samples.render import render_frames

# The matrix of a track header in 16.16 fixed point (a, b, c, d), by the rotation that a player applies.
_MATRICES = {90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def encode_clip(path: Path, effect: str, seed: int, clip_format: ClipFormat) -> None:
    """Render a clip and write it to `path`; a file that was begun is removed when anything goes wrong."""
    try:
        _write(path, effect, seed, clip_format)
        if clip_format.rotation:
            _rotate(path, clip_format.rotation)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(path: Path, effect: str, seed: int, chosen: ClipFormat) -> None:
    ticks = chosen.ticks(seed)
    times = ticks / ticks[-1]
    encoding = chosen.encoding
    with av.open(str(path), "w", format=encoding.container) as container:
        stream = container.add_stream(encoding.codec, rate=chosen.rate, options=dict(encoding.options))
        stream.width, stream.height = chosen.stored_size
        stream.pix_fmt = encoding.pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = chosen.time_base
        for tick, pixels in zip(
            ticks, render_frames(effect, seed, times, chosen.height, chosen.width), strict=True
        ):
            # Stored turned the other way, so that a player that heeds the rotation shows it upright.
            stored = np.ascontiguousarray(np.rot90(pixels, -chosen.rotation // 90))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame = frame.reformat(format=encoding.pixel_format)
            frame.pts, frame.time_base = int(tick), chosen.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _rotate(path: Path, degrees: int) -> None:
    """Set the display matrix in the track header of an MP4 or MOV file; PyAV has no call for it."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd", data.index(b"moov")) + 4 + 40  # version 0: 40 bytes before the matrix
    a, b, c, d = (value * 65536 for value in _MATRICES[degrees])
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
