"""From an untrusted open file to the chosen frames of a clip.

Frames are chosen by the presentation times that the container states, before anything is decoded.
decord reads the ordinary file: it is the fastest, and resizes while it decodes. PyAV reads what decord
refuses, what decord gets wrong (rotation, interlacing, deep colour, open groups of pictures), and what the
two do not agree about. Both scale with FFmpeg's bicubic, as the ffmpeg command does.
"""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.video import avread, fastread
from pipeline.video.facts import VideoFacts
from pipeline.video.plan import Bars, Fit, place, plan_fit


def decode_clip(
    file: BinaryIO,
    facts: VideoFacts,
    indices: Sequence[int],
    spec: ClipSpec,
    fit: Fit,
    bars: Bars | None = None,
) -> np.ndarray:
    """The frames `indices` of a probed video in the spec's geometry, RGB uint8 [n, height, width, 3].

    Letterbox `bars` are left out.

    Raises:
        Rejection: a chosen frame cannot be decoded by either reader.
    """
    plan = plan_fit(*facts.upright_size, facts.upright_aspect, spec, fit, bars)
    indices = np.asarray(indices)
    wanted = np.unique(indices)
    frames = fastread.read_frames(file, facts, wanted, plan) if fastread.is_ordinary(facts) else None
    if frames is None:
        frames = avread.read_frames(file, facts, wanted, plan)
    clip = np.empty((len(indices), spec.height, spec.width, 3), dtype=np.uint8)
    for at, index in enumerate(indices.tolist()):
        clip[at] = place(frames[index], plan, spec)
    return clip
