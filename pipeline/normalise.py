"""One untrusted file to normalised clips: decode, score, encode. Runs inside the sandbox."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from catalog.clip_spec import ClipSpec
from pipeline.decode import decode_clip
from pipeline.errors import BadSource
from pipeline.limits import DecodeLimits
from pipeline.plan import Fit, TimePolicy, TooFewFrames, plan_frames
from pipeline.probe import probe
from pipeline.quality import score
from pipeline.rejection import Rejection
from pipeline.transcode import CRF, encode_poster, encode_video


class NormaliseSettings(BaseModel):
    """How a source becomes clips.

    Attributes:
        time_policy: `uniform` spreads the clip over the video, `realtime` keeps its speed and makes windows.
        fit: `crop` fills the frame, `pad` keeps everything on black, `stretch` ignores the shape.
        min_frames: the fewest distinct frames worth a clip.
        max_windows: the most clips one video makes under `realtime`.
        crf: constant rate factor of the stored clip.
        limits: what one file may cost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_policy: TimePolicy = "uniform"
    fit: Fit = "crop"
    min_frames: int = Field(8, ge=2)
    max_windows: int = Field(64, ge=1)
    crf: int = Field(CRF, ge=0, le=51)
    limits: DecodeLimits = DecodeLimits()


@dataclass(frozen=True)
class NormalisedClip:
    """One clip: its window, its scores, and its video and poster as compressed bytes."""

    key: str
    start: float
    end: float
    scores: dict
    video: bytes
    poster: bytes


@dataclass(frozen=True)
class Normalised:
    """What a file gave: the facts of the source (columns of `clips`) and its clips, in order of time."""

    facts: dict
    clips: list[NormalisedClip] = field(default_factory=list)


def normalise(file: BinaryIO, spec: ClipSpec, settings: NormaliseSettings) -> Normalised:
    """Decode an open file once and make its clips.

    Raises:
        Rejection: it makes no clip, and why.
    """
    facts = probe(file, settings.limits)
    clips = []
    for plan in _plans(facts.timestamps, spec, settings):
        frames = decode_clip(file, facts, plan.indices, spec, settings.fit)
        clips.append(
            NormalisedClip(
                key=plan.key,
                start=plan.start,
                end=plan.end,
                scores=score(frames[np.unique(plan.indices, return_index=True)[1]]).columns(),
                video=encode_video(frames, spec.fps, settings.crf),
                poster=encode_poster(frames[len(frames) // 2]),
            )
        )
    return Normalised(facts.describe(), clips)


def _plans(timestamps: np.ndarray, spec: ClipSpec, settings: NormaliseSettings):
    try:
        plans = plan_frames(timestamps, spec, settings.time_policy, settings.min_frames)
    except TooFewFrames as error:
        raise Rejection("too_few_frames", f"The video is too short: {error}.") from error
    return plans[: settings.max_windows]


def normalise_file(path: str | Path, spec: ClipSpec, settings: NormaliseSettings | None = None) -> np.ndarray:
    """The first clip of a video file at the spec's geometry, RGB uint8 [num_frames, height, width, 3].

    For one file that somebody names on a command line; a data set goes through `ingest`.

    Raises:
        BadSource: the file is missing or makes no clip.
    """
    settings = settings or NormaliseSettings(min_frames=2)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadSource(f"The video {str(path)!r} cannot be read: {error.strerror}.") from error
    try:
        file = io.BytesIO(data)
        facts = probe(file, settings.limits)
        plan = _plans(facts.timestamps, spec, settings)[0]
        return decode_clip(file, facts, plan.indices, spec, settings.fit)
    except Rejection as rejection:
        raise BadSource(f"The video {str(path)!r} cannot be used. {rejection.reason}") from rejection
