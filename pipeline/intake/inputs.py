"""Inputs with what identifies them, gathered by content; copies settled across runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lancedb.expr import col

from catalog.store import Catalog
from catalog.vocabulary import Outcome, Status
from pipeline.curation.fate import Fate
from pipeline.curation.policy import SUPERSEDED
from pipeline.intake import records
from pipeline.intake.fingerprint import Stat
from pipeline.sources.source import Source

_PER_QUERY = 500


@dataclass(frozen=True)
class Input:
    """A source, what the file system says of it, and the hash of its bytes (None: unreadable, or not yet)."""

    source: Source
    stat: Stat
    sha256: str | None = None


def group_by_content(inputs: Sequence[Input], hashes: Iterable[tuple[str, str | None]]) -> list[list[Input]]:
    """Inputs with the same bytes and window together, in order of their address; unreadable ones alone.

    The first of a group stands for it: which one it is depends on the addresses only.
    """
    by_uri = dict(hashes)
    groups: dict[tuple, list[Input]] = {}
    for item in sorted(inputs, key=lambda item: item.source.uri):
        sha256 = by_uri.get(item.source.uri)
        key = (sha256 or item.source.uri, item.source.window)
        groups.setdefault(key, []).append(replace(item, sha256=sha256))
    return list(groups.values())


def settle(catalog: Catalog, hashes: Sequence[str]) -> int:
    """Leave one accepted source per content where runs that knew nothing of each other each accepted one.

    The first address stays, as in a single run; the others become duplicates. Returns how many did.
    """
    columns = ["source_uri", "sha256", "outcome", "clip_ids", "reason", "reason_code"]
    changed, moved = [], []
    for at in range(0, len(hashes), _PER_QUERY):
        where = col("sha256").isin(list(hashes[at : at + _PER_QUERY])) & (col("outcome") == Outcome.ACCEPTED)
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
    for at in range(0, len(uris), _PER_QUERY):
        batch = list(uris[at : at + _PER_QUERY])
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
    for at in range(0, len(hashes), _PER_QUERY):
        where = col("sha256").isin(hashes[at : at + _PER_QUERY])
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
