"""High dynamic range to the standard one: PQ and HLG pictures (BT.2100), as a clip stores none.

The rule is the field's: light in units of reference white (203 cd/m², BT.2408), bent by the Möbius curve of
FFmpeg's `tonemap` filter (`zscale` at npl=203 before it). Dark and middle tones stay as they are, and the
brightest light there can be is just white, so that a sky keeps its clouds. All three channels are bent by one
factor, so that hues stay; colours outside BT.709 are cut. No metadata of the mastering display is asked for,
so two files of one scene come out alike.
"""

from functools import cache

import av
import numpy as np
from av.video.reformatter import ColorTrc

_PQ, _HLG = ColorTrc.SMPTE2084.value, ColorTrc.ARIB_STD_B67.value
_WHITE = 203.0
# Up to this light nothing is bent.
_KNEE = 0.3
# HLG is light of the scene; shown on a display of this many cd/m² its whites rise by this power.
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
_PQ_PEAK = 10_000.0
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
    light = np.maximum(light @ _FROM_2020_TO_709.T, 0)
    brightest = light.max(axis=-1, keepdims=True)
    peak = (_HLG_PEAK if transfer == _HLG else _PQ_PEAK) / _WHITE
    light *= _bent(brightest, peak) / np.maximum(brightest, 1e-6)
    return (np.minimum(light, 1) ** (1 / 2.4) * 255 + 0.5).astype(np.uint8)


def _bent(light: np.ndarray, peak: float) -> np.ndarray:
    """Light in reference whites, from the knee to `peak` bent into knee to 1 without a break."""
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a)
    return np.where(light <= _KNEE, light, scale * (light + a) / (light + b))


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
    return (light * _PQ_PEAK / _WHITE).astype(np.float32)
