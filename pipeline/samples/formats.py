"""The file format of a sample: chosen from the seed alone, as mixed as what people collect."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.samples.seeding import generator

MIN_FRAMES, MAX_PIXELS = (
    52,
    24_000_000,
)  # a clip of 49 frames can be cut; a file is written in a second or two
MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True)
class Encoding:
    """A container, a codec and a pixel format that go together, with the encoder's options."""

    suffix: str
    container: str
    codec: str
    pixel_format: str
    options: tuple[tuple[str, str], ...] = ()
    odd_sizes: bool = False
    timestamps: bool = True  # the container keeps a time for every frame
    rotates: bool = False  # the container can hold a rotation


_X264 = (("preset", "veryfast"), ("crf", "19"))
_X265 = (("preset", "ultrafast"), ("crf", "20"), ("x265-params", "log-level=none:pools=none"))
_VPX = (("deadline", "realtime"), ("cpu-used", "8"), ("b", "3M"))
_BITS = (("b", "5M"),)

ENCODINGS: tuple[Encoding, ...] = (
    Encoding("mp4", "mp4", "libx264", "yuv420p", _X264, rotates=True),
    Encoding("webm", "webm", "libvpx-vp9", "yuv420p", _VPX, odd_sizes=True),
    Encoding("mov", "mov", "libx264", "yuv420p", _X264, rotates=True),
    Encoding("mkv", "matroska", "libx265", "yuv420p10le", _X265),
    Encoding("avi", "avi", "mpeg4", "yuv420p", _BITS, timestamps=False),
    Encoding("mp4", "mp4", "libx264", "yuv420p", _X264),
    Encoding("mkv", "matroska", "libx264", "yuv444p", _X264, odd_sizes=True),
    Encoding("mov", "mov", "mjpeg", "yuvj444p", _BITS, odd_sizes=True),
    Encoding("mp4", "mp4", "mpeg4", "yuv420p", _BITS),
    Encoding("webm", "webm", "libvpx", "yuv420p", _VPX, odd_sizes=True),
    Encoding("mp4", "mp4", "libx265", "yuv420p", _X265),
    Encoding("avi", "avi", "mjpeg", "yuvj420p", _BITS, odd_sizes=True, timestamps=False),
    Encoding("mp4", "mp4", "libx264", "yuv420p10le", _X264),
)
RATES = tuple(
    map(Fraction, ("12", "15", "16", "24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60"))
)
ASPECTS = tuple(map(Fraction, ("16/9", "16/9", "3/2", "4/3", "1", "3/4", "9/16", "21/10")))
SHORT_SIDES = (240, 256, 270, 288, 320, 360, 400, 432, 480, 540, 720)


@dataclass(frozen=True)
class ClipFormat:
    """How one sample file is written. Width and height are as a viewer sees them, after rotation."""

    encoding: Encoding
    width: int
    height: int
    rate: Fraction  # average frames a second
    num_frames: int
    variable: bool
    rotation: int  # degrees a player has to turn the stored frames counter-clockwise: 0, 90, 180 or 270

    @property
    def time_base(self) -> Fraction:
        """The unit of `ticks`, seconds."""
        return MILLISECOND if self.variable else 1 / self.rate

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the frames in the file."""
        return (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)

    def ticks(self, seed: int) -> np.ndarray:
        """When every frame is shown, in units of `time_base`: int64 [num_frames], strictly ascending."""
        if not self.variable:
            return np.arange(self.num_frames)
        steps = generator("ticks", seed).uniform(0.35, 1.65, self.num_frames - 1) * float(1000 / self.rate)
        return np.concatenate([[0], np.cumsum(np.maximum(np.round(steps), 4).astype(np.int64))])


def choose_format(category: int, member: int, seed: int) -> ClipFormat:
    """The format of a set's clip, from the set's seed and the clip's place in it.

    Encodings are dealt round from a shuffled deck: thirteen neighbours never share one.
    """
    deck = generator("deck", seed).permutation(len(ENCODINGS))
    encoding = ENCODINGS[deck[(category + 5 * member) % len(deck)]]
    rng = generator("format", seed, category, member)
    rate = RATES[rng.integers(len(RATES))]
    num_frames = max(MIN_FRAMES, round(float(rate) * rng.uniform(2.0, 7.0)))
    aspect = ASPECTS[rng.integers(len(ASPECTS))]
    short = SHORT_SIDES[rng.integers(len(SHORT_SIDES))]
    stretch = float(max(aspect, 1 / aspect))
    affordable = (MAX_PIXELS / num_frames / stretch) ** 0.5
    if short > affordable:
        short = max([side for side in SHORT_SIDES if side <= affordable], default=SHORT_SIDES[0])
    long = round(short * stretch)
    odd = encoding.odd_sizes and bool(rng.random() < 0.7)
    short, long = (side // 2 * 2 + int(odd) for side in (short, long))
    turned = rng.random() < 0.7
    return ClipFormat(
        encoding=encoding,
        width=long if aspect >= 1 else short,
        height=short if aspect >= 1 else long,
        rate=rate,
        num_frames=num_frames,
        variable=encoding.timestamps and bool(rng.random() < 0.35),
        rotation=int(rng.choice([90, 180, 270])) if encoding.rotates and turned else 0,
    )
