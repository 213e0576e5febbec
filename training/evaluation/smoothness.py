"""Motion smoothness (VBench): how well the frames between can be guessed from their neighbours.

VBench guesses with AMT-S, whose weights are for non-commercial use and are not shipped here. Two free
interpolators are, and a figure always names which one made it: figures of two interpolators are not compared.
"""

from collections.abc import Callable

import numpy as np

# Frames uint8 [H, W, 3] before and after → the one between.
Interpolate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def smoothness(frames: np.ndarray, interpolate: Interpolate) -> float:
    """(255 - mean |guess - frame|) / 255 over the odd frames that have an even one on both sides.

    Args:
        frames: uint8 [n, H, W, 3]; fewer than three frames are smooth, 1.
    """
    between = range(1, len(frames) - 1, 2)
    if not len(between):
        return 1.0
    errors = [
        np.abs(interpolate(frames[at - 1], frames[at + 1]).astype(np.int16) - frames[at]).mean()
        for at in between
    ]
    return float((255 - np.mean(errors)) / 255)


def blend(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The mean of both, without any motion: a floor for every interpolator."""
    return ((before.astype(np.uint16) + after + 1) // 2).astype(np.uint8)


def dis_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Both frames moved half way along OpenCV's DIS optical flow, and their mean taken; no weights."""
    import cv2

    grey = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (before, after)]
    height, width = grey[0].shape
    if min(height, width) < 16:  # DIS works on patches of eight pixels at half size
        return blend(before, after)
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = []
    for picture, (first, second) in ((before, (0, 1)), (after, (1, 0))):
        flow = finder.calc(grey[first], grey[second], None) / 2
        moved.append(
            cv2.remap(
                picture,
                columns - flow[..., 0],
                rows - flow[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return blend(*moved)


# One more: a function here, and its name in `EvaluateSettings.interpolator`.
INTERPOLATORS: dict[str, Interpolate] = {"dis-flow": dis_flow, "blend": blend}
