"""Clips whose files are gone, kept out of everything by one act."""

from catalog.acts import apply
from catalog.changes import Change
from catalog.fate import SOURCE_GONE, VERDICT
from catalog.store import Catalog
from catalog.vocabulary import Outcome, Status

ACT = "set_aside"


def gone_clips(catalog: Catalog) -> list[str]:
    """Clips of which no source is there any more, as far as the last ingestions saw."""
    rows = catalog.scan("sources", ["outcome", "clip_ids"]).to_pylist()
    left = {key for row in rows if row["outcome"] != Outcome.GONE for key in row["clip_ids"] or ()}
    held = {key for row in rows if row["outcome"] == Outcome.GONE for key in row["clip_ids"] or ()}
    return sorted(held - left)


def set_aside_gone(catalog: Catalog, actor: str) -> tuple[str | None, list[str]]:
    """Reject the clips whose files are gone; they keep their media, and come back with a file.

    Returns:
        The act's number, None where there is nothing to do, and the clips.
    """
    columns = ["clip_id", *VERDICT]
    seen = catalog.get("clips", gone_clips(catalog), columns).to_pylist()
    seen = [row for row in seen if row["status"] != Status.REJECTED]
    verdict = {
        "status": Status.REJECTED,
        "reason_code": SOURCE_GONE,
        "reason": "Its file is not there any more.",
        "duplicate_of": None,
        "duplicate_group": None,
    }
    changes = [Change("clips", [{"clip_id": row["clip_id"], **verdict} for row in seen], seen=seen)]
    done = apply(catalog, ACT, changes, actor=actor)
    return done.event, [row["clip_id"] for row in seen]
