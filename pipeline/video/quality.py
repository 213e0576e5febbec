"""Scores of a clip: numbers between 0 and 1 that say what it looks like, and judge nothing.

`policy.py` turns scores into a verdict, so that a changed mind needs no second decoding.
"""

from dataclasses import asdict, dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from pipeline.video.plan import Bars
from pipeline.video.planes import BLACK, WHITE, chroma
from pipeline.video.planes import luma as luma_of

# Rows and columns of the luma thumbnails that all but blur are measured on.
_ROWS, _COLUMNS = 96, 144
_BLACK = 20 / 255
# Every other frame of a full clip: a trimmed copy has its frames between the original's.
_HASHES = 25
# Rows and columns of the grid of colours.
GRID = (4, 4)
# A picture whose waves are all weaker than this is one flat colour, and its hash would be noise.
_FLAT = 2.0


@dataclass(frozen=True)
class Scores:
    """What a clip looks like.

    motion: mean change of luma between neighbouring frames; 0 for a still.
    brightness: mean luma.
    blur: 0 for a crisp clip, towards 1 without any fine detail in its sharpest frames.
    letterbox: share of the picture that is bars, black from edge to edge in every frame.
    flicker: mean reversal of the brightness from frame to frame.
    cut: how much the strongest change looks like a cut: sudden, alone and lasting. A flash passes, a whip pan
        goes on for several frames; neither scores high.
    phash: 64-bit perceptual hashes of 25 frames spread over the clip, 0 for a flat picture.
    """

    motion: float
    brightness: float
    blur: float
    letterbox: float
    flicker: float
    cut: float
    phash: list[int]

    def columns(self) -> dict:
        return asdict(self)


# The last is the decoder's: the share of frames that it had to patch up.
SCORES = ("motion", "brightness", "blur", "letterbox", "flicker", "cut", "errors")


def score(luma: np.ndarray) -> Scores:
    """Score one clip by its luma, uint8 [n, height, width] of limited range, every source frame once.

    Frames that a plan repeats are to be left out: between two of the same nothing moves, and the next looks
    like a cut.
    """
    small = thumbnails(luma, _COLUMNS, _ROWS)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2)) if len(small) > 1 else np.zeros(1)
    level = small.mean(axis=(1, 2))
    picked = np.linspace(0, len(luma) - 1, 8).round().astype(int)
    hashed = np.linspace(0, len(luma) - 1, _HASHES).round().astype(int)
    return Scores(
        motion=_rounded(change.mean()),
        brightness=_rounded(level.mean()),
        blur=_rounded(_blur(luma[picked[::2]])),
        letterbox=_rounded(_letterbox(small)),
        flicker=_rounded(_flicker(level)),
        cut=_rounded(_cut(small, change)),
        phash=perceptual_hashes(small[hashed]),
    )


def colours(planes: np.ndarray) -> list[int]:
    """Mean Y, Cb and Cr (0-255) on a grid of 4 x 4, of the frames that are hashed: [25 * 4 * 4 * 3], flat.

    They tell a red toy from a purple one, whose hashes are the same: those know low waves of luma only.

    Args:
        planes: uint8 [n, height * 3 / 2, width], the frames that are scored.
    """
    hashed = planes[np.linspace(0, len(planes) - 1, _HASHES).round().astype(int)]
    parts = [_on_grid(part) for part in (luma_of(hashed), *chroma(hashed))]
    return np.stack(parts, axis=-1).round().astype(int).ravel().tolist()


def _on_grid(pictures: np.ndarray) -> np.ndarray:
    """Means of pictures [n, rows, columns] on the grid, [n, *GRID], of some hundred pixels each."""
    step = max(1, pictures.shape[1] // _ROWS)
    pictures = pictures[:, ::step, ::step]
    sizes = zip(pictures.shape[1:], GRID, strict=True)
    rows, columns = (np.linspace(0, size, count + 1).astype(int) for size, count in sizes)
    sums = np.add.reduceat(pictures, rows[:-1], axis=1, dtype=np.int64)
    sums = np.add.reduceat(sums, columns[:-1], axis=2)
    return sums / (np.diff(rows)[:, None] * np.diff(columns)[None, :])


def thumbnails(luma: np.ndarray, width: int, height: int) -> np.ndarray:
    """Luma uint8 [n, rows, columns] of limited range, averaged down: float32 [n, height, width], 0 to 1."""
    scaler = VideoReformatter()
    small = np.empty((len(luma), height, width), dtype=np.uint8)
    for number, picture in enumerate(luma):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        small[number] = scaler.reformat(frame, width, height, interpolation="AREA", threads=1).to_ndarray()
    return np.clip((small.astype(np.float32) - BLACK) / (WHITE - BLACK), 0, 1)


def _rounded(value: float) -> float:
    return round(float(np.clip(value, 0, 1)), 5)


def _blur(luma: np.ndarray) -> float:
    """Blur by the Laplacian's variance in the sharpest frame: an effect may blur on purpose, for a while."""
    height, width = luma.shape[1:]
    half = thumbnails(luma, width // 2, height // 2) * 255
    centre = half[:, 1:-1, 1:-1]
    laplacian = half[:, :-2, 1:-1] + half[:, 2:, 1:-1] + half[:, 1:-1, :-2] + half[:, 1:-1, 2:] - 4 * centre
    return 1 / (1 + float(laplacian.var(axis=(1, 2)).max()) / 20)


def letterbox_bars(luma: np.ndarray) -> tuple[int, int, int, int]:
    """Rows above and below, columns left and right, black in every frame of luma [n, rows, columns]."""
    brightest = luma.max(axis=0)
    if brightest.max() < _BLACK:
        return 0, 0, 0, 0
    rows = np.flatnonzero(brightest.max(axis=1) >= _BLACK)
    columns = np.flatnonzero(brightest.max(axis=0) >= _BLACK)
    return (
        int(rows[0]),
        len(brightest) - 1 - int(rows[-1]),
        int(columns[0]),
        brightest.shape[1] - 1 - int(columns[-1]),
    )


def steady_bars(luma: np.ndarray) -> Bars:
    """Letterbox bars of luma pictures [n, rows, columns] with values 0-1, as shares of the picture.

    Bars come in pairs of the same size; a dark edge of a scene on one side is none. One row or column more
    is taken than is black, because the edge of a bar is never sharp.
    """
    top, bottom, left, right = letterbox_bars(luma)
    rows, columns = luma.shape[1:]
    vertical = min(top, bottom) > 0 and abs(top - bottom) <= max(2, 0.1 * max(top, bottom))
    horizontal = min(left, right) > 0 and abs(left - right) <= max(2, 0.1 * max(left, right))
    up, down = ((top + 1) / rows, (bottom + 1) / rows) if vertical else (0.0, 0.0)
    return Bars(up, down, *(((left + 1) / columns, (right + 1) / columns) if horizontal else (0.0, 0.0)))


def _letterbox(luma: np.ndarray) -> float:
    top, bottom, left, right = letterbox_bars(luma)
    rows, columns = luma.shape[1:]
    return 1 - (rows - top - bottom) * (columns - left - right) / (rows * columns)


def _flicker(level: np.ndarray) -> float:
    """Mean of the smaller of two opposite steps in a row: a fade has none, a strobe has many."""
    steps = np.diff(level)
    before, after = steps[:-1], steps[1:]
    reversed_ = np.where(before * after < 0, np.minimum(np.abs(before), np.abs(after)), 0.0)
    return float(reversed_.mean()) if len(reversed_) else 0.0


def _cut(luma: np.ndarray, change: np.ndarray) -> float:
    strongest = 0.0
    for at in range(2, len(change) - 2):
        around = max(change[at - 2], change[at - 1], change[at + 1], change[at + 2])
        sudden = change[at] - 1.5 * around
        if sudden <= strongest:
            continue
        # What the step brought is still there two frames later, or it was a flash.
        lasting = float(np.abs(luma[at + 3 if at + 3 < len(luma) else -1] - luma[at - 1]).mean())
        if lasting > 0.6 * change[at]:
            strongest = sudden
    return strongest / 0.12


# Rows are the eight lowest waves of a cosine transform of 32 values.
_COSINES = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))


def perceptual_hashes(luma: np.ndarray) -> list[int]:
    """64-bit hashes of luma pictures [n, rows, columns]: signs of the lowest 8x8 cosine coefficients.

    Signs, and not comparisons with a median, because a mirrored picture then has the same hash with the bits
    of the odd columns flipped (`mirrored_hash`). A picture of one colour has the hash 0.
    """
    rows = np.linspace(0, luma.shape[1], 33).astype(int)[:-1]
    columns = np.linspace(0, luma.shape[2], 33).astype(int)[:-1]
    small = np.add.reduceat(np.add.reduceat(luma, rows, axis=1), columns, axis=2)
    low = _COSINES @ small.astype(np.float64) @ _COSINES.T
    low[:, 0, 0] = 0
    flat = np.abs(low).max(axis=(1, 2)) < _FLAT
    bits = ((low > 0) & ~flat[:, None, None]).reshape(len(luma), 64)
    return [int(word) for word in np.packbits(bits, axis=1).view(">u8").ravel()]


ODD_COLUMNS = int.from_bytes(bytes([0b01010101] * 8), "big")


def mirrored_hash(word: int) -> int:
    """The hash of the same picture mirrored left to right."""
    return word ^ ODD_COLUMNS
