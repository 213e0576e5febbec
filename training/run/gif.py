"""A video as an animated GIF: the only moving picture that TensorBoard shows."""

from io import BytesIO
from pathlib import Path

import av

LONGEST_SIDE = 320


def gif(video: Path) -> tuple[bytes, int, int]:
    """The bytes of an endless GIF, its width and height: all frames, at their speed, at most LONGEST_SIDE."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        scale = min(1.0, LONGEST_SIDE / max(stream.width, stream.height))
        size = round(stream.width * scale), round(stream.height * scale)
        frames = [frame.to_image().resize(size) for frame in container.decode(stream)]
        milliseconds = round(1000 / float(stream.average_rate))
    out = BytesIO()
    frames[0].save(
        out, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=False
    )
    return out.getvalue(), *size
