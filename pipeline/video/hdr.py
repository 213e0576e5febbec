"""High dynamic range to the standard one: PQ and HLG pictures (BT.2100), as a clip stores none.

The rule: light up to half of reference white (203 cd/m², BT.2408) stays as it is; what is brighter is bent
towards white and never reaches it, all three channels by one factor so that hues stay; colours outside
BT.709 are cut. No metadata of the mastering display is asked for, so two files of one scene come out alike.
"""

from functools import cache

import av
import numpy as np
from av.video.reformatter import ColorTrc

_PQ, _HLG = ColorTrc.SMPTE2084.value, ColorTrc.ARIB_STD_B67.value
_WHITE = 203.0
_KNEE = 0.5
# HLG is light of the scene; shown on a display of this many cd/m² its whites rise by this power.
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
_FROM_2020_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether a frame says that its values are PQ's or HLG's."""
    return frame.color_trc in (_PQ, _HLG)


def to_standard(picture: np.ndarray, transfer: int) -> np.ndarray:
    """BT.2100 RGB uint16 [height, width, 3], full range, to RGB uint8 for a BT.709 display."""
    light = _linear(transfer)[picture]
    if transfer == _HLG:
        light *= np.maximum(light @ _LUMA_2020, 1e-6)[..., None] ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _WHITE)
    brightest = light.max(axis=-1, keepdims=True)
    light *= _bent(brightest) / np.maximum(brightest, 1e-6)
    shown = np.clip(light @ _FROM_2020_TO_709.T, 0, 1)
    return (shown ** (1 / 2.4) * 255 + 0.5).astype(np.uint8)


def _bent(light: np.ndarray) -> np.ndarray:
    """Light in reference whites, bent above the knee: value and slope go on unbroken, 1 is never passed."""
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.minimum(light, _KNEE) + (1 - _KNEE) * (1 - np.exp(-above))


@cache
def _linear(transfer: int) -> np.ndarray:
    """The light of every 16-bit value, float32 [65536]: for PQ in reference whites, for HLG of the scene."""
    value = np.arange(65536) / 65535
    if transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        return scene.astype(np.float32)
    root = value ** (32 / 2523)
    light = (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
    return (light * 10_000 / _WHITE).astype(np.float32)
