"""What became of an input, as rows of the catalogue: pure functions of an answer."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from catalog.fate import Fate, copy_of, fate_of_clips
from catalog.vocabulary import CategorySource, Outcome
from pipeline.curation.policy import QualityPolicy, judge
from pipeline.intake.stat import Stat
from pipeline.sources.source import Source
from pipeline.video.normalise import NormaliseSettings


def clip_id(sha256: str, key: str, spec_id: str) -> str:
    """A clip's identity: content of its source, window within it, geometry; 32 hex digits."""
    return hashlib.sha256(f"{sha256}/{key}/{spec_id}".encode()).hexdigest()[:32]


def source_row(source: Source, stat: Stat, sha256: str | None, fate: Fate, run_id: str, at: datetime) -> dict:
    """The row of `sources` of one input."""
    said = asdict(source)
    said.pop("refusal")
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
    category: str | None,
    sha256: str,
    answer: dict,
    settings: NormaliseSettings,
    policy: QualityPolicy,
    spec_id: str,
    run_id: str,
    at: datetime,
) -> list[dict]:
    """The rows of `clips` that a decoded input makes, judged by the policy; `category` is its label's."""
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


def media_rows(
    ids: Sequence[str], videos: Sequence[bytes], posters: Sequence[bytes], strips: Sequence[bytes]
) -> list[dict]:
    """The rows of `media` of an input's clips, in their order."""
    return [
        {"clip_id": key, "video": video, "poster": poster, "strip": strip, "bytes": len(video)}
        for key, video, poster, strip in zip(ids, videos, posters, strips, strict=True)
    ]


def fate_of(answer: dict, clips: Sequence[dict]) -> Fate:
    """An input is accepted when one of its clips is; otherwise the first clip's reason is its own."""
    if answer["outcome"] != "normalised":
        return Fate(Outcome(answer["outcome"]), answer["code"], answer["reason"])
    return fate_of_clips(clips)


def copied(fate: Fate, original: str) -> Fate:
    """The fate of an input with the same bytes as one that has been decided."""
    if not fate.clip_ids:
        return fate
    return Fate(Outcome.DUPLICATE, *copy_of(original), fate.clip_ids)
