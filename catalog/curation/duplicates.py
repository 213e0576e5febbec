"""Clips that show the same, side by side, and what a person decides about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lancedb.expr import col

from catalog.acts import Applied
from catalog.curation.author import Author
from catalog.curation.clips import PLACE, REVIEWED, TERMS, signed
from catalog.curation.pairs import pair_of, remembered, told_apart, verdicts
from catalog.curation.selection import whole_ids
from catalog.errors import BadAct
from catalog.fate import VERDICT, with_sources
from catalog.predicates import not_null
from catalog.store import Catalog
from catalog.vocabulary import PairVerdict, Status

NEAR_DUPLICATE = "near_duplicate"
# What copies of a video may differ in, and a person wants to compare.
COMPARED = (
    *("source_width", "source_height", "source_fps", "source_duration", "codec", "errors"),
    *("window_start", "window_end", "category_id", "split", "caption", "licence", "licence_evidence"),
    *("source", "generator", "source_uri"),
)
# What the kept clip takes from its copies where it says nothing itself; what stands together goes together.
_TAKEN = (("caption",), TERMS, ("source",), ("generator",), PLACE)


@dataclass(frozen=True)
class DuplicateGroup:
    """Clips that show the same, directly or through another.

    Attributes:
        clips: their rows: `clip_id`, `status`, `duplicate_of` and `COMPARED`.
        differing: the columns of `COMPARED` in which they are not alike.
        leaks: pairs of clips that are both used, in different splits: what trains is also tested on.
    """

    clips: tuple[dict[str, Any], ...]
    differing: tuple[str, ...]
    leaks: tuple[tuple[str, str], ...]


def duplicate_groups(catalog: Catalog) -> list[DuplicateGroup]:
    """All groups of clips that show the same and were not told apart; those that leak first, then by id."""
    columns = ["clip_id", "status", "duplicate_of", "duplicate_group", *COMPARED]
    members: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in catalog.scan("clips", columns, not_null("duplicate_group")).sort_by("clip_id").to_pylist():
        if row["status"] != Status.REJECTED:
            members[row.pop("duplicate_group")].append(row)
    known = verdicts(catalog)
    found = []
    for rows in members.values():
        pairs = [pair_of(a["clip_id"], b["clip_id"]) for a, b in combinations(rows, 2)]
        if not pairs or all(known.get(pair) == PairVerdict.DIFFERENT for pair in pairs):
            continue
        differing = tuple(name for name in COMPARED if len({str(row[name]) for row in rows}) > 1)
        found.append(DuplicateGroup(tuple(rows), differing, _leaks(rows, known)))
    return sorted(found, key=lambda group: (not group.leaks, group.clips[0]["clip_id"]))


def reversed_twins(catalog: Catalog) -> list[tuple[str, str]]:
    """Pairs of clips of which one shows the other backwards: two effects, never one."""
    return sorted(pair for pair, known in verdicts(catalog).items() if known == PairVerdict.REVERSED)


def keep(catalog: Catalog, clip: str, copies: Sequence[str], author: Author, merge: bool = False) -> Applied:
    """Use one clip and mark others as its copies, whatever a later `dedup` would prefer.

    Args:
        merge: what the kept clip does not say of itself (caption, terms, source, generator, category) it
            takes from its copies, from the first that says it.

    Raises:
        UnknownClip: see `Selection`.
        BadAct: a clip as its own copy.
    """
    [kept] = whole_ids(catalog, [clip])
    others = whole_ids(catalog, copies)
    if kept in others or not others:
        raise BadAct(f"Name the clip that is kept ({kept[:12]}) once, and one or more others as its copies.")
    taken = tuple(name for names in _TAKEN for name in names)
    columns = ["clip_id", *VERDICT, *REVIEWED, *taken]
    rows = {row["clip_id"]: row for row in catalog.get("clips", [kept, *others], columns).to_pylist()}
    before = sorted({row["duplicate_group"] for row in rows.values() if row["duplicate_group"]})
    grouped = (
        catalog.scan("clips", columns, col("duplicate_group").isin(before)).to_pylist() if before else []
    )
    rows |= {row["clip_id"]: row for row in grouped if row["clip_id"] not in rows}
    # Groups are called after their first clip, as `dedup` calls them.
    group = min(rows)
    accepted = {**dict.fromkeys(VERDICT), "status": Status.ACCEPTED, "duplicate_group": group}
    said = {name: rows[kept][name] for name in taken}
    if merge:
        said = _merged([rows[key] for key in (kept, *others)])
    copy = {"status": Status.DUPLICATE, "reason": f"It shows the same as clip {kept}."}
    copy |= {"reason_code": NEAR_DUPLICATE, "duplicate_of": kept, "duplicate_group": group}
    wished = [{"clip_id": kept, **accepted, **signed(author), **said}]
    wished += [
        {"clip_id": key, **copy, **signed(author), **{name: rows[key][name] for name in taken}}
        for key in others
    ]
    wished += [row | {"duplicate_group": group} for key, row in rows.items() if key not in (kept, *others)]
    wished = [row for row in wished if _differs(row, rows[row["clip_id"]])]
    changes = [
        *with_sources(catalog, wished, [rows[row["clip_id"]] for row in wished]),
        *remembered(catalog, [(kept, key) for key in others], PairVerdict.SAME, author.name, kept),
    ]
    return author.apply(catalog, "keep", changes, {"clip": kept, "copies": others, "merge": merge})


def not_duplicates(catalog: Catalog, clips: Sequence[str], author: Author) -> Applied:
    """Tell clips apart for ever: none is a copy of another of them, and no later `dedup` asks again.

    Raises:
        UnknownClip: see `Selection`.
        BadAct: fewer than two clips.
    """
    ids = whole_ids(catalog, clips)
    if len(ids) < 2:
        raise BadAct("Name two clips or more that are not copies of each other.")
    columns = ["clip_id", *VERDICT, *REVIEWED]
    wished, seen = [], []
    for row in catalog.get("clips", ids, columns).to_pylist():
        if row["duplicate_of"] in ids:
            accepted = {**dict.fromkeys(VERDICT), "status": Status.ACCEPTED}
            accepted["duplicate_group"] = row["duplicate_group"]
            wished.append({"clip_id": row["clip_id"], **accepted, **signed(author)})
            seen.append(row)
    changes = [
        *with_sources(catalog, wished, seen),
        *told_apart(catalog, combinations(ids, 2), author),
    ]
    return author.apply(catalog, "apart", changes, {"clips": ids})


def _leaks(rows: Sequence[dict[str, Any]], known: dict[tuple[str, str], PairVerdict]) -> tuple:
    used = [row for row in rows if row["status"] == Status.ACCEPTED and row["split"]]
    pairs = [
        (pair_of(a["clip_id"], b["clip_id"]), a["split"] != b["split"]) for a, b in combinations(used, 2)
    ]
    return tuple(pair for pair, apart in pairs if apart and known.get(pair) != PairVerdict.DIFFERENT)


def _merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several clips say together: of each kind what the first says that says it."""
    said: dict[str, Any] = {}
    for names in _TAKEN:
        first = next((row for row in rows if row[names[0]]), rows[0])
        said |= {name: first[name] for name in names}
    return said


def _differs(wished: dict[str, Any], row: dict[str, Any]) -> bool:
    return any(row[name] != value for name, value in wished.items() if name not in REVIEWED)
