"""What became of an input, as rows of the catalogue: pure functions of an answer."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from catalog.vocabulary import CategorySource, Outcome, Status
from pipeline.curation.policy import QualityPolicy, judge
from pipeline.intake.fingerprint import Stat
from pipeline.sources.labels import normalise_label
from pipeline.sources.source import Source
from pipeline.video.normalise import NormaliseSettings


def clip_id(sha256: str, key: str, spec_id: str) -> str:
    """A clip's identity: content of its source, window within it, geometry; 32 hex digits."""
    return hashlib.sha256(f"{sha256}/{key}/{spec_id}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Fate:
    """What a row of `sources` says: outcome, why, and the clips that hold the content."""

    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    clip_ids: list[str] = field(default_factory=list)


def source_row(source: Source, stat: Stat, sha256: str | None, fate: Fate, run_id: str, at: datetime) -> dict:
    """The row of `sources` of one input."""
    said = asdict(source)
    return {
        "source_uri": said.pop("uri"),
        **said,
        "references": [list(pair) for pair in source.references] or None,
        **asdict(stat),
        "sha256": sha256,
        "outcome": fate.outcome,
        "reason": fate.reason,
        "reason_code": fate.code,
        "clip_ids": fate.clip_ids,
        "run_id": run_id,
        "ingested_at": at,
    }


def clip_rows(
    source: Source,
    sha256: str,
    answer: dict,
    settings: NormaliseSettings,
    policy: QualityPolicy,
    spec_id: str,
    run_id: str,
    at: datetime,
) -> list[dict]:
    """The rows of `clips` that a decoded input makes, judged by the policy."""
    category = normalise_label(source.label)
    rows = []
    for clip in answer["clips"]:
        verdict = judge(clip["scores"], category, policy)
        rows.append(
            {
                "clip_id": clip_id(sha256, clip["key"], spec_id),
                "source_uri": source.uri,
                "sha256": sha256,
                **answer["facts"],
                "window_start": clip["start"],
                "window_end": clip["end"],
                "time_policy": settings.time_policy,
                "fit": settings.fit,
                "spec_id": spec_id,
                "status": verdict.status,
                "reason": verdict.reason,
                "reason_code": verdict.code,
                **clip["scores"],
                "caption": source.caption,
                "category_id": category,
                "category_source": CategorySource.LABEL if category else None,
                "category_confidence": 1.0 if category else None,
                "source": source.source,
                "generator": source.generator,
                "licence": source.licence,
                "licence_evidence": source.licence_evidence,
                "run_id": run_id,
                "created_at": at,
                "updated_at": at,
            }
        )
    return rows


def media_rows(ids: Sequence[str], videos: Sequence[bytes], posters: Sequence[bytes]) -> list[dict]:
    """The rows of `media` of an input's clips, in their order."""
    return [
        {"clip_id": key, "video": video, "poster": poster, "bytes": len(video)}
        for key, video, poster in zip(ids, videos, posters, strict=True)
    ]


def fate_of(answer: dict, clips: Sequence[dict]) -> Fate:
    """An input is accepted when one of its clips is; otherwise the first clip's reason is its own."""
    if answer["outcome"] != "normalised":
        return Fate(Outcome(answer["outcome"]), answer["code"], answer["reason"])
    return fate_of_clips(clips)


def fate_of_clips(clips: Sequence[dict]) -> Fate:
    """The fate of an input by its clips, in order of time: the best of theirs."""
    ids = [clip["clip_id"] for clip in clips]
    for status, outcome in ((Status.ACCEPTED, Outcome.ACCEPTED), (Status.DUPLICATE, Outcome.DUPLICATE)):
        first = next((clip for clip in clips if clip["status"] == status), None)
        if first is not None:
            told = (None, None) if status == Status.ACCEPTED else (first["reason_code"], first["reason"])
            return Fate(outcome, *told, ids)
    return Fate(Outcome.REJECTED, clips[0]["reason_code"], clips[0]["reason"], ids)


def copied(fate: Fate, original: str) -> Fate:
    """The fate of an input with the same bytes as one that has been decided."""
    if not fate.clip_ids:
        return fate
    return Fate(Outcome.DUPLICATE, "same_content", f"It has the same content as {original}.", fate.clip_ids)
