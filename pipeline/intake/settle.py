"""Which source stands for a clip, settled when a run has written its rows: copies, other parts, labels."""

from collections.abc import Sequence

from lancedb.expr import col

from catalog.curation.conflicts import Conflict, by_content, conflicts_of, decided_clips, told_of_copies
from catalog.fate import SUPERSEDED, Fate
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, Outcome, Status
from pipeline.intake import records

PER_QUERY = 500


def settle(catalog: Catalog, hashes: Sequence[str]) -> int:
    """Leave one accepted source per content where runs that knew nothing of each other each accepted one.

    The first address stays, as in a single run; the others become duplicates. Returns how many did.
    """
    columns = ["source_uri", "sha256", "outcome", "clip_ids", "reason", "reason_code"]
    changed, moved = [], []
    for at in range(0, len(hashes), PER_QUERY):
        where = col("sha256").isin(list(hashes[at : at + PER_QUERY])) & (col("outcome") == Outcome.ACCEPTED)
        by_content: dict[tuple, list[dict]] = {}
        for row in catalog.scan("sources", columns, where=where).to_pylist():
            by_content.setdefault((row["sha256"], *row["clip_ids"]), []).append(row)
        for rows in by_content.values():
            first, *others = sorted(rows, key=lambda row: row["source_uri"])
            for row in others:
                fate = Fate(Outcome.ACCEPTED, clip_ids=row["clip_ids"])
                copy = records.copied(fate, first["source_uri"])
                row |= {"outcome": copy.outcome, "reason": copy.reason, "reason_code": copy.code}
                changed.append(row)
            if others:
                moved += [
                    {"clip_id": key, "source_uri": first["source_uri"]} for key in first["clip_ids"] or ()
                ]
    if changed:
        catalog.update("sources", changed)
        catalog.update("clips", moved)
    return len(changed)


def retire(catalog: Catalog, uris: Sequence[str]) -> int:
    """Reject the clips of these sources that no source stands for any more, because their data set now names
    another part of the video, or the file has become another one. Returns how many were.

    They keep their rows and their media, and come back when a source asks for them again.
    """
    left = []
    for at in range(0, len(uris), PER_QUERY):
        batch = list(uris[at : at + PER_QUERY])
        rows = catalog.get("sources", batch, ["source_uri", "clip_ids"]).to_pylist()
        # A source that cannot be read today may be as it was tomorrow.
        current = {row["source_uri"]: row["clip_ids"] for row in rows if row["clip_ids"]}
        columns = ["clip_id", "source_uri", "sha256", "reason_code"]
        for clip in catalog.scan("clips", columns, where=col("source_uri").isin(batch)).to_pylist():
            known = clip["reason_code"] == SUPERSEDED or clip["source_uri"] not in current
            if not known and clip["clip_id"] not in current[clip["source_uri"]]:
                left.append(clip)
    used: set[str] = set()
    hashes = sorted({clip["sha256"] for clip in left})
    for at in range(0, len(hashes), PER_QUERY):
        where = col("sha256").isin(hashes[at : at + PER_QUERY])
        for row in catalog.scan("sources", ["clip_ids"], where=where).to_pylist():
            used.update(row["clip_ids"] or ())
    fate = {
        "status": Status.REJECTED,
        "reason_code": SUPERSEDED,
        "reason": "Its source is now another file, or another part of it.",
        "duplicate_of": None,
        "duplicate_group": None,
    }
    gone = [{"clip_id": clip["clip_id"], **fate} for clip in left if clip["clip_id"] not in used]
    if gone:
        catalog.update("clips", gone)
    return len(gone)


def label_conflicts(catalog: Catalog, names: CategoryNames) -> list[Conflict]:
    """The conflicts of a catalogue; their clips wait for a person, and the rows of their copies say so.

    No label wins: the clip has no category until its sources agree or a person says which it is.
    """
    columns = ["source_uri", "label", "outcome", "reason_code", "reason", "clip_ids"]
    rows = catalog.scan("sources", columns).to_pylist()
    conflicts = conflicts_of(rows, names, decided_clips(catalog))
    torn = {conflict.clip_ids for conflict in conflicts}
    changed = []
    for clip_ids, members in by_content(rows).items():
        if len(members) > 1:
            changed += told_of_copies(members, clip_ids in torn)
    if changed:
        catalog.update("sources", changed)
    waiting = [key for conflict in conflicts for key in conflict.clip_ids]
    clips = catalog.get("clips", waiting, ["clip_id", "category_source"]).to_pylist()
    labelled = [clip["clip_id"] for clip in clips if clip["category_source"] == CategorySource.LABEL]
    if labelled:
        none = {"category_id": None, "category_source": None, "category_confidence": None}
        catalog.update("clips", [{"clip_id": key, **none} for key in labelled])
    return conflicts
