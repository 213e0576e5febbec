"""One untrusted file to normalised clips: decode, score, encode. Runs inside the sandbox."""

from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from catalog.clip_spec import ClipSpec
from pipeline.video.decode import Reader, decode_clip, decode_judged
from pipeline.video.facts import VideoFacts
from pipeline.video.limits import DecodeLimits
from pipeline.video.plan import (
    Bars,
    Fit,
    FramePlan,
    TimePolicy,
    TooFewFrames,
    Window,
    plan_frames,
    plan_window,
)
from pipeline.video.planes import frame_of, luma, to_rgb
from pipeline.video.probe import probe
from pipeline.video.quality import colours, score, steady_bars, thumbnails
from pipeline.video.rejection import Rejection
from pipeline.video.strip import strip_of_planes
from pipeline.video.transcode import CRF, encode_planes, encode_poster

# Where letterbox bars are looked for.
_WHOLE_PICTURE = ClipSpec(num_frames=1, height=288, width=432)
_LOOKED_AT = 9


class NormaliseSettings(BaseModel):
    """How a source becomes clips.

    Attributes:
        time_policy: `uniform` spreads the clip over the video, `realtime` keeps its speed and makes windows.
        fit: `crop` fills the frame, `pad` keeps everything on black, `stretch` ignores the shape.
        letterbox: what becomes of black bars that are in every frame: `crop` cuts them before the fit.
        min_frames: the fewest distinct frames worth a clip.
        max_windows: the most clips one video makes under `realtime`.
        crf: constant rate factor of the stored clip.
        reader: what reads ordinary files; see `decode`.
        limits: what one file may cost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_policy: TimePolicy = "uniform"
    fit: Fit = "crop"
    letterbox: Literal["keep", "crop"] = "keep"
    min_frames: int = Field(8, ge=2)
    max_windows: int = Field(64, ge=1)
    crf: int = Field(CRF, ge=0, le=51)
    reader: Reader = "pyav"
    limits: DecodeLimits = DecodeLimits()


@dataclass(frozen=True)
class NormalisedClip:
    """One clip: its window, its scores, and its video, poster and effect strip as compressed bytes."""

    key: str
    start: float
    end: float
    scores: dict
    video: bytes
    poster: bytes
    strip: bytes


@dataclass(frozen=True)
class Normalised:
    """What a file gave: the facts of the source (columns of `clips`) and its clips, in order of time."""

    facts: dict
    clips: list[NormalisedClip] = field(default_factory=list)


def normalise(
    file: BinaryIO, spec: ClipSpec, settings: NormaliseSettings, window: str | None = None
) -> Normalised:
    """Decode an open file once and make its clips, of its whole length or of one window (`Source.window`).

    Raises:
        Rejection: it makes no clip, and why.
    """
    facts = probe(file, settings.limits)
    clips = []
    for plan in _plans(facts.timestamps, spec, settings, window):
        bars = _bars(file, facts, plan) if settings.letterbox == "crop" else None
        frames, errors = decode_judged(file, facts, plan.indices, spec, settings.fit, bars, settings.reader)
        distinct = np.unique(plan.indices, return_index=True)[1]
        clips.append(
            NormalisedClip(
                key=plan.key,
                start=plan.start,
                end=plan.end,
                scores=score(luma(frames[distinct])).columns()
                | {"errors": round(errors, 5), "colours": colours(frames[distinct])},
                video=encode_planes(frames, spec.fps, settings.crf),
                poster=encode_poster(to_rgb(frame_of(frames[len(frames) // 2]))),
                strip=strip_of_planes(frames),
            )
        )
    return Normalised(facts.describe(), clips)


def _bars(file: BinaryIO, facts: VideoFacts, plan: FramePlan) -> Bars:
    """The letterbox bars of a clip, looked for in some of its frames at the whole picture."""
    looked_at = plan.indices[np.linspace(0, len(plan.indices) - 1, _LOOKED_AT).round().astype(int)]
    small = decode_clip(file, facts, looked_at, _WHOLE_PICTURE, "stretch")
    return steady_bars(thumbnails(luma(small), _WHOLE_PICTURE.width, _WHOLE_PICTURE.height))


def _plans(timestamps: np.ndarray, spec: ClipSpec, settings: NormaliseSettings, window: str | None):
    try:
        how = (spec, settings.time_policy, settings.min_frames)
        if window is None:
            plans = plan_frames(timestamps, *how)
        else:
            plans = plan_window(timestamps, Window.parse(window), *how)
    except TooFewFrames as error:
        what = "The video has nothing there" if error.beyond else "The video is too short"
        raise Rejection("too_few_frames", f"{what}: {error}.") from error
    return plans[: settings.max_windows]
