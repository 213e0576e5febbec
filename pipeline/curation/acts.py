"""Acts on many clips at once that can be taken back: an event says what rows were before."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from lancedb.expr import col

from catalog.names import nearest
from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.intake import records

# What an act may change of a clip, and an undo puts back.
UNDONE = ("status", "reason", "reason_code", "duplicate_of", "duplicate_group")
_ROWS_PER_COMMIT = 10_000


class UnknownEvent(PipelineError):
    """There is no such event, or none that can be taken back."""


def apply(
    catalog: Catalog, act: str, changes: Sequence[dict], payload: dict, actor: str
) -> tuple[str | None, int]:
    """Change clips, have their sources follow, and record the act with what undoes it.

    Args:
        changes: rows of `clips` with `clip_id` and all of `UNDONE`; those that change nothing are dropped.

    Returns:
        The event's id, None where nothing changed, and how many clips changed.
    """
    columns = ["clip_id", *UNDONE]
    ids = [row["clip_id"] for row in changes]
    before = {row["clip_id"]: row for row in catalog.get("clips", ids, columns).to_pylist()}
    changed = [row for row in changes if row["clip_id"] in before and row != before[row["clip_id"]]]
    if not changed:
        return None, 0
    now = datetime.now(UTC)
    event = f"{act}-{now:%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    # The event first: a change that nothing undoes must not be possible.
    catalog.upsert(
        "events",
        [
            {
                "event_id": event,
                "act": act,
                "actor": actor,
                "at": now,
                "payload": payload,
                "undo": [before[row["clip_id"]] for row in changed],
            }
        ],
    )
    for at in range(0, len(changed), _ROWS_PER_COMMIT):
        part = [row | {"updated_at": now} for row in changed[at : at + _ROWS_PER_COMMIT]]
        catalog.update("clips", part)
    follow(catalog, [row["clip_id"] for row in changed])
    return event, len(changed)


def undo(catalog: Catalog, event: str, actor: str) -> tuple[str | None, int]:
    """Put the clips of an event back as they were; the undoing is an event too, and can be undone.

    Raises:
        UnknownEvent: no such event, or one of another kind.
    """
    rows = catalog.get("events", [event]).to_pylist()
    before = json.loads(rows[0]["undo"] or "null") if rows else None
    if not isinstance(before, list) or not all({"clip_id", *UNDONE} == set(row) for row in before):
        ids = catalog.scan("events", ["event_id"])["event_id"].to_pylist()
        raise UnknownEvent(f"There is no event {event!r} of dedup or judge to undo{nearest(event, ids)}.")
    return apply(catalog, "undo", before, {"event": event}, actor)


def in_force(catalog: Catalog, act: str) -> list[tuple[dict, bool]]:
    """(payload, whether it stands) of every event of an act: an event is undone unless its undoing is."""
    rows = catalog.scan("events", ["event_id", "act", "payload"], col("act").isin([act, "undo"]))
    payloads = {row["event_id"]: json.loads(row["payload"] or "{}") for row in rows.to_pylist()}
    undone_by: dict[str, list[str]] = {}
    for event, payload in payloads.items():
        if event.startswith("undo-"):
            undone_by.setdefault(payload["event"], []).append(event)

    def stands(event: str) -> bool:
        return not any(stands(other) for other in undone_by.get(event, ()))

    return [(payloads[event], stands(event)) for event in payloads if not event.startswith("undo-")]


def follow(catalog: Catalog, clip_ids: Sequence[str]) -> int:
    """Have the outcome of the sources that clips came from follow the clips; returns how many changed.

    Copies with the same bytes stay the duplicates that they are.
    """
    uris = catalog.get("clips", clip_ids, ["source_uri"])["source_uri"].to_pylist()
    columns = ["source_uri", "outcome", "reason", "reason_code", "clip_ids"]
    sources = [
        row
        for row in catalog.get("sources", [uri for uri in uris if uri], columns).to_pylist()
        if row["clip_ids"] and row["reason_code"] != "same_content"
    ]
    wanted = [key for row in sources for key in row["clip_ids"]]
    columns = ["clip_id", "status", "reason", "reason_code"]
    clips = {row["clip_id"]: row for row in catalog.get("clips", wanted, columns).to_pylist()}
    changed = []
    for row in sources:
        theirs = [clips[key] for key in row["clip_ids"] if key in clips]
        if not theirs:
            continue
        fate = records.fate_of_clips(theirs)
        now = {"outcome": fate.outcome, "reason": fate.reason, "reason_code": fate.code}
        if any(row[name] != value for name, value in now.items()):
            changed.append({"source_uri": row["source_uri"], **now})
    catalog.update("sources", changed)
    return len(changed)
