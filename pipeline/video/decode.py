"""From an untrusted open file to the chosen frames of a clip.

Frames are chosen by the presentation times that the container states, before anything is decoded. PyAV reads
by default: it hands on 4:2:0 as it lies in the file, which is what is stored. decord gives RGB only, which
makes the whole of ingestion a third dearer; where the setting `reader` names it, it reads the ordinary files,
and PyAV what decord refuses or gets wrong (rotation, interlacing, deep colour, open groups of pictures). Both
scale with FFmpeg's bicubic, as the ffmpeg command does.
"""

from collections.abc import Sequence
from typing import BinaryIO, Literal

import numpy as np
from av.video.reformatter import VideoReformatter

from catalog.clip_spec import ClipSpec
from pipeline.video import avread, fastread, planes
from pipeline.video.facts import VideoFacts
from pipeline.video.plan import Bars, Fit, FitPlan, place, plan_fit

Reader = Literal["pyav", "decord"]


def decode_clip(
    file: BinaryIO,
    facts: VideoFacts,
    indices: Sequence[int],
    spec: ClipSpec,
    fit: Fit,
    bars: Bars | None = None,
    reader: Reader = "pyav",
) -> np.ndarray:
    """The frames of `decode_judged`, without its judgement."""
    return decode_judged(file, facts, indices, spec, fit, bars, reader)[0]


def decode_judged(
    file: BinaryIO,
    facts: VideoFacts,
    indices: Sequence[int],
    spec: ClipSpec,
    fit: Fit,
    bars: Bars | None = None,
    reader: Reader = "pyav",
) -> tuple[np.ndarray, float]:
    """The frames `indices` of a probed video as `planes` uint8 [n, spec.height * 3 / 2, spec.width], and the
    share of them that is broken: patched up by the decoder, or standing for one that it could not make.

    Letterbox `bars` are left out.

    Raises:
        Rejection: a chosen frame cannot be decoded by either reader.
    """
    plan = plan_fit(*facts.upright_size, facts.upright_aspect, spec, fit, bars)
    indices = np.asarray(indices)
    wanted = np.unique(indices)
    frames, broken = None, set()
    if reader == "decord" and fastread.is_ordinary(facts):
        frames = _by_decord(file, facts, wanted, plan, spec)
    if frames is None:
        frames, broken = avread.read_frames(file, facts, wanted, plan, spec)
    clip = np.empty((len(indices), spec.height * 3 // 2, spec.width), dtype=np.uint8)
    for at, index in enumerate(indices.tolist()):
        clip[at] = frames[index]
    return clip, sum(index in broken for index in indices.tolist()) / len(indices)


def _by_decord(file: BinaryIO, facts: VideoFacts, wanted: np.ndarray, plan: FitPlan, spec: ClipSpec):
    pictures, scaler = fastread.read_frames(file, facts, wanted, plan), VideoReformatter()
    if pictures is None:
        return None
    return {index: planes.from_rgb(place(rgb, plan, spec), scaler) for index, rgb in pictures.items()}
