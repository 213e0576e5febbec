"""What changes in a clip, measured on its pixels: no weights, nothing learned.

An effect is change, and much of change can simply be measured: which colours go where, what moves and how,
what is new and not merely moved, how fine and how regular the texture becomes. Everything is measured on
small square pictures, averaged over cells of them, and read in six equal parts of the clip, in order, so that
a clip and its reverse differ. `directions.py` makes one short vector of it.
"""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np

# Frames that are looked at, spread evenly: so dense that most things move a few pixels from one to the next.
FRAMES = 25
SIDE = 48
TIMES, _GLOBAL_TIMES = 6, 8
_COLOUR_CELLS, _CELLS = 6, 4
_BINS = 16
# Pixels of a small picture: beyond it a displacement is a mismatch.
_FARTHEST = 12.0
# Added before logarithms: what is darker or flatter is noise of the codec.
_FAINT_EDGE, _FAINT_WAVE = 0.01, 0.1
_WAVES = ((0, 1), (1, 3), (3, 6), (6, 10), (10, 16), (16, 25))
_GLOBAL = 9
_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)

# Values of each block.
BLOCKS: Mapping[str, int] = {
    "colours": TIMES * _COLOUR_CELLS**2 * 3,
    "palette": TIMES * 3 * _BINS,
    "flow": TIMES * _CELLS**2 * 2,
    "motion": _GLOBAL_TIMES * _GLOBAL,
    "activity": TIMES * _CELLS**2 * 3,
    "novelty": TIMES * _CELLS**2 * 3,
    "edges": TIMES * _CELLS**2 * 3,
    "waves": TIMES * len(_WAVES) ** 2,
}


def choose(frames: np.ndarray) -> np.ndarray:
    """The frames [n, H, W, 3] of a clip that are measured, at most FRAMES, spread evenly over it."""
    return frames[np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int)]


def observe(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The blocks of `BLOCKS`, each fp32 [its size], of uint8 RGB frames [n, H, W, 3], n at least 1.

    colours   Lab of every cell, minus the first frame's
    palette   histograms of L, a and b, minus the first frame's
    flow      displacement of every cell (DIS optical flow)
    motion    of the whole picture: shift, zoom along x and y, shear along x and y, speed, spread
    activity  how much every cell changes from frame to frame
    novelty   the same after what moved is moved back: what appears, vanishes, changes colour
    edges     logarithm of horizontal and vertical edges and of fine detail by cell, minus the first frame's
    waves     logarithm of the picture's spectrum by frequencies along x and y, minus the first frame's

    A clip of one frame, and one in which nothing changes, has nothing but zeros.
    """
    small = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in choose(frames)])
    if len(small) < 2:
        return {name: np.zeros(size, np.float32) for name, size in BLOCKS.items()}
    column = small.reshape(-1, SIDE, 3)
    lab = (cv2.cvtColor(column.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100).reshape(small.shape)
    grey = cv2.cvtColor(column, cv2.COLOR_RGB2GRAY).reshape(small.shape[:3])
    # What is measured from one frame to the next is told per 1/24 of the clip, however many frames it has.
    rate = np.float32((len(small) - 1) / (FRAMES - 1))
    flow = _flow(grey)
    moved_back = np.stack([_moved_back(*pair) for pair in zip(lab[1:], flow, strict=True)])
    coloured, edges, waves = _cells(lab, _COLOUR_CELLS), _edges(lab[..., 0]), _waves(lab[..., 0])
    palette = _palette(cv2.cvtColor(column, cv2.COLOR_RGB2LAB).reshape(len(small), -1, 3))
    found = {
        "colours": _in_parts(_since_first(coloured)),
        "palette": _in_parts(_since_first(palette)),
        "flow": _in_parts(_cells(flow, _CELLS)) * rate,
        "motion": _in_parts(_whole_motion(flow), _GLOBAL_TIMES) * rate,
        "activity": np.sqrt(_in_parts(_cells(np.abs(lab[1:] - lab[:-1]), _CELLS)) * rate),
        "novelty": np.sqrt(_in_parts(_cells(np.abs(moved_back - lab[:-1]), _CELLS)) * rate),
        "edges": _in_parts(_since_first(edges)),
        "waves": _in_parts(_since_first(waves)),
    }
    return {name: found[name].reshape(-1).astype(np.float32) for name in BLOCKS}


def _since_first(values: np.ndarray) -> np.ndarray:
    return values[1:] - values[:1]


def _in_parts(values: np.ndarray, parts: int = TIMES) -> np.ndarray:
    """Means [parts, …] over equal parts of a clip of what was measured at times [T, …], in order."""
    ends = np.linspace(0, 1, len(values) + 1)
    begins = np.linspace(0, 1, parts + 1)
    shared = np.minimum(begins[1:, None], ends[None, 1:]) - np.maximum(begins[:-1, None], ends[None, :-1])
    weights = (np.maximum(shared, 0) * parts).astype(np.float32)
    return (weights @ values.reshape(len(values), -1)).reshape(parts, *values.shape[1:])


def _cells(pictures: np.ndarray, count: int) -> np.ndarray:
    """Means over count × count cells of pictures [T, SIDE, SIDE, C]: [T, count, count, C]."""
    area = cv2.INTER_AREA
    return np.stack([cv2.resize(each, (count, count), interpolation=area) for each in pictures])


def _flow(grey: np.ndarray) -> np.ndarray:
    """How far every pixel goes until the next frame, in pixels along x and y: fp32 [T - 1, SIDE, SIDE, 2]."""
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    finder.setFinestScale(1)
    found = np.stack([finder.calc(one, other, None) for one, other in pairwise(grey)])
    return np.clip(found, -_FARTHEST, _FARTHEST)


def _moved_back(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return cv2.remap(
        picture, _X + flow[..., 0], _Y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _whole_motion(flow: np.ndarray) -> np.ndarray:
    """[T, 9] of flow [T, SIDE, SIDE, 2]: see `observe`."""
    x, y = ((each + 0.5) * 2 / SIDE - 1 for each in (_X, _Y))
    across, down = flow[..., 0], flow[..., 1]
    speed = np.hypot(across, down)
    moments = (across, down, across * x, down * y, across * y, down * x, speed)
    means = [moment.mean((1, 2)) for moment in moments]
    return np.stack([*means, across.std((1, 2)), down.std((1, 2))], axis=-1)


def _palette(lab: np.ndarray) -> np.ndarray:
    """Square roots of histograms [T, 3 * 16] of Lab in bytes [T, pixels, 3], a little smoothed.

    a and b are read at twice the fineness in the middle half of their range: hardly a colour lies beyond.
    """
    fine = np.stack([lab[..., 0] >> 4, *(np.clip(lab[..., k], 64, 191) - 64 >> 3 for k in (1, 2))], axis=-1)
    places = fine + _BINS * np.arange(3 * len(lab)).reshape(-1, 1, 3)
    counts = np.bincount(places.ravel(), minlength=3 * _BINS * len(lab)).reshape(-1, 3, _BINS)
    shares = np.pad(counts.astype(np.float32) / lab.shape[1], ((0, 0), (0, 0), (1, 1)))
    return np.sqrt((shares[..., :-2] + shares[..., 1:-1] + shares[..., 2:]) / 3).reshape(len(lab), -1)


def _edges(light: np.ndarray) -> np.ndarray:
    """[T, 4, 4, 3] of lightness [T, SIDE, SIDE]."""
    across = np.abs(np.diff(light, axis=2, append=light[:, :, -1:]))
    down = np.abs(np.diff(light, axis=1, append=light[:, -1:]))
    fine = np.abs(np.stack([cv2.Laplacian(np.ascontiguousarray(each), cv2.CV_32F) for each in light]))
    return np.log(_cells(np.stack([across, down, fine], axis=-1), _CELLS) + _FAINT_EDGE)


def _waves(light: np.ndarray) -> np.ndarray:
    """[T, 6, 6] of lightness [T, SIDE, SIDE]: mean logarithm of the spectrum in bands along y and x."""
    spectrum = np.log(np.abs(np.fft.rfft2(light)) + _FAINT_WAVE)
    along = np.abs(np.fft.fftfreq(SIDE) * SIDE)
    rows = np.stack([spectrum[:, (along >= low) & (along < high)].mean(1) for low, high in _WAVES], axis=1)
    return np.stack([rows[..., low:high].mean(-1) for low, high in _WAVES], axis=-1)
