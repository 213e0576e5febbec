"""A changed policy, held against the scores that are stored: no clip is decoded again."""

from dataclasses import dataclass, field
from time import monotonic

from catalog.acts import apply
from catalog.fate import BY_PERSON, LICENCE_WITHDRAWN, SOURCE_GONE, SUPERSEDED, VERDICT, with_sources
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.curation.policy import QualityPolicy, by_category_id, judge
from pipeline.video.quality import SCORES
from training.progress import Progress


@dataclass
class JudgeReport:
    """What judging changed.

    Attributes:
        counts: clips `accepted`, `duplicate` and `rejected` after it, `changed` rows.
        reasons: rejected clips per reason code.
        event: what `undo` takes; None where nothing changed.
        unknown_categories: names in the policy that no category has, and the end of a sentence that says
            which are near.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    reasons: dict[str, int] = field(default_factory=dict)
    event: str | None = None
    unknown_categories: dict[str, str] = field(default_factory=dict)


def rejudge(
    catalog: Catalog, policy: QualityPolicy, actor: str = "", progress: Progress | None = None
) -> JudgeReport:
    """Give every clip the status that the policy means for its scores and its category, both ways.

    What a person has looked at and accepted or rejected stays as it is.

    A near-duplicate that passes stays one; one that fails is rejected, and is found again by `deduplicate`
    when a later policy lets it pass.
    """
    began = monotonic()
    columns = ["clip_id", "category_id", "reviewed_by", *SCORES, *VERDICT]
    rows = catalog.scan("clips", columns).sort_by("clip_id").to_pylist()
    named, unknown = by_category_id(policy, CategoryNames.load(catalog))
    counts: dict[str, int] = dict.fromkeys(Status, 0)
    reasons: dict[str, int] = {}
    changes = []
    for row in rows:
        if row["reason_code"] in (SUPERSEDED, SOURCE_GONE, BY_PERSON, LICENCE_WITHDRAWN):
            counts[Status.REJECTED] += 1
            reasons[row["reason_code"]] = reasons.get(row["reason_code"], 0) + 1
            continue
        if row["reviewed_by"] and row["status"] == Status.ACCEPTED:
            counts[Status.ACCEPTED] += 1
            continue
        verdict = judge(row, row["category_id"], named)
        decided = {name: row[name] for name in ("clip_id", *VERDICT)}
        if verdict.status == Status.REJECTED:
            decided |= {"status": Status.REJECTED, "reason": verdict.reason, "reason_code": verdict.code}
            decided |= {"duplicate_of": None, "duplicate_group": None}
            reasons[verdict.code] = reasons.get(verdict.code, 0) + 1
        elif row["status"] == Status.REJECTED:
            decided |= {"status": Status.ACCEPTED, "reason": None, "reason_code": None}
        counts[decided["status"]] += 1
        changes.append(decided)
    payload = {"policy": policy.model_dump(mode="json")}
    seen = [{name: row[name] for name in ("clip_id", *VERDICT)} for row in rows]
    done = apply(catalog, "judge", with_sources(catalog, changes, seen), actor=actor, payload=payload)
    if progress:
        progress(len(rows), len(rows), counts)
    counts["changed"] = done.changed.get("clips", 0)
    return JudgeReport(counts, len(rows), monotonic() - began, reasons, done.event, unknown)
