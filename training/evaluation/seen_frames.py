"""Which frames of a clip the classifier of effects sees, and how small; apart from it, so that nothing here
needs torch."""

import numpy as np

FRAMES, HEIGHT, WIDTH = 17, 32, 48


def chosen_frames(count: int) -> np.ndarray:
    """Which of a clip's `count` frames are seen, [17]: every third of 49."""
    return np.linspace(0, count - 1, FRAMES).round().astype(int)
