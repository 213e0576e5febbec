"""Putting back what people decided as it was in a snapshot: one act, which can be taken back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from catalog.acts import Applied
from catalog.changes import Change, Kind
from catalog.curation.author import Author
from catalog.curation.clips import PLACE, REVIEWED, SPLIT, TERMS
from catalog.fate import BY_PERSON, LICENCE_WITHDRAWN, VERDICT, with_sources
from catalog.schema import KEYS
from catalog.snapshots.named import resolve
from catalog.store import Catalog
from catalog.vocabulary import Status

_CLIPS = (*VERDICT, *PLACE, *SPLIT, *TERMS, *REVIEWED, "caption")
_CATEGORIES = ("name", "aliases", "group", "description", "state", "held_out", "merged_into")
_PAIRS = ("verdict", "kept", "said_by", "said_at")


def restore(catalog: Catalog, name: str, author: Author, set_aside_later: bool = False) -> Applied:
    """Put clips, categories and what was said of pairs back as they were in a snapshot.

    Embeddings, features, models and the history stay, and so do clips that came later. A clip whose licence
    was withdrawn since stays out: only `clip approve` or `undo` brings it back.

    Args:
        name: of a snapshot, or `model:ID`.
        set_aside_later: clips that came later are rejected, so that what is used is what was used then.

    Raises:
        SnapshotMissing, SpecMismatch: see `snapshots.named`.
        ChangedMeanwhile: somebody acts at this moment.
    """
    past = resolve(catalog, name)
    then, now = _rows(past, "clips", _CLIPS), _rows(catalog, "clips", _CLIPS)
    gone_for_good = {key for key, row in now.items() if row["reason_code"] == LICENCE_WITHDRAWN}
    wished = [row for key, row in then.items() if key in now and row != now[key] and key not in gone_for_good]
    later = [row for key, row in now.items() if key not in then]
    if set_aside_later:
        reason = f"It came after the snapshot {name!r}, which was put back."
        gone = {
            **dict.fromkeys(VERDICT),
            "status": Status.REJECTED,
            "reason": reason,
            "reason_code": BY_PERSON,
        }
        wished += [row | gone for row in later if row["status"] != Status.REJECTED]
    seen = [now[(row["clip_id"],)] for row in wished]
    needed = set() if set_aside_later else {row["category_id"] for row in later}
    changes = [
        *with_sources(catalog, wished, seen),
        *_put_back(past, catalog, "categories", _CATEGORIES, needed),
        *_put_back(past, catalog, "pairs", _PAIRS),
    ]
    payload = {"snapshot": name, "set_aside_later": set_aside_later, "later": len(later)}
    return author.apply(catalog, "restore", changes, payload)


def _put_back(
    past: Catalog,
    catalog: Catalog,
    table: str,
    columns: tuple[str, ...],
    needed: Collection[str] = (),
) -> list[Change]:
    """The changes that leave a table's rows as they were; rows that came later go, unless they are needed."""
    keys = KEYS[table]
    then, now = _rows(past, table, columns), _rows(catalog, table, columns)
    changed = [row for key, row in then.items() if key in now and row != now[key]]
    missing = {key for key in then if key not in now}
    lost = [row for row in past.scan(table).to_pylist() if tuple(row[k] for k in keys) in missing]
    extra = [dict(zip(keys, key, strict=True)) for key in now if key not in then and key[0] not in needed]
    return [
        Change(table, changed, seen=[now[tuple(row[k] for k in keys)] for row in changed]),
        Change(table, lost, Kind.ADD),
        Change(table, extra, Kind.REMOVE),
    ]


def _rows(catalog: Catalog, table: str, columns: tuple[str, ...]) -> dict[tuple, dict[str, Any]]:
    keys = KEYS[table]
    rows = catalog.scan(table, [*keys, *columns]).to_pylist()
    return {tuple(row[key] for key in keys): row for row in rows}
