"""Small real video files, written with PyAV or the ffmpeg command."""

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def moving(count: int = 30, height: int = 72, width: int = 96, seed: int = 0) -> np.ndarray:
    """A bright square over a gradient, uint8 [count, height, width, 3]; every frame differs from the last."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 // width, y * 255 // height, (x + y + 40 * seed) % 200], axis=-1)
    frames = np.repeat(base[None], count, axis=0).astype(np.uint8)
    for at in range(count):
        left = (at * 3 + 7 * seed) % (width - 16)
        frames[at, 20:36, left : left + 16] = (250, 240, 30 + 5 * (seed % 40))
    return frames


def numbered(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Flat frames whose grey level says which frame they are: 4 · number, uint8 [count, height, width, 3]."""
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    frames += (np.arange(count) * 4 % 256).astype(np.uint8)[:, None, None, None]
    return frames


def write(
    path: Path,
    frames: np.ndarray,
    fps: int = 12,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode frames; `times` in seconds makes the rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.options = options or {"crf": "12", "preset": "ultrafast"}
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1000) if times is not None else Fraction(1, fps)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def ffmpeg(*arguments: str) -> bytes:
    """Run the ffmpeg command; its standard output."""
    done = subprocess.run([FFMPEG, "-v", "error", "-y", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures in dB, 99 where equal."""
    error = float(((one.astype(np.float64) - other.astype(np.float64)) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))
