"""What a person said of two clips, kept for ever: the same, or not, or one of them backwards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from catalog.changes import Change, Kind
from catalog.curation.author import Author
from catalog.store import Catalog
from catalog.vocabulary import PairVerdict


def pair_of(one: str, other: str) -> tuple[str, str]:
    """The key of two clips."""
    return (one, other) if one < other else (other, one)


def verdicts(catalog: Catalog) -> dict[tuple[str, str], PairVerdict]:
    """What is known of pairs of clips."""
    rows = catalog.scan("pairs", ["clip_id", "other_id", "verdict"]).to_pylist()
    return {(row["clip_id"], row["other_id"]): PairVerdict(row["verdict"]) for row in rows}


def remembered(
    catalog: Catalog,
    pairs: Iterable[tuple[str, str]],
    verdict: PairVerdict,
    said_by: str,
    kept: str | None = None,
) -> list[Change]:
    """The changes of an act that keep a verdict about pairs; what was said of them before gives way."""
    known = {(r["clip_id"], r["other_id"]): r for r in catalog.scan("pairs").to_pylist()}
    now = datetime.now(UTC)
    new, changed = [], []
    for key in sorted({pair_of(*pair) for pair in pairs}):
        row = {"clip_id": key[0], "other_id": key[1], "verdict": verdict, "kept": kept}
        before = known.get(key)
        if before is None:
            new.append(row | {"said_by": said_by, "said_at": now})
        elif (before["verdict"], before["kept"]) != (verdict, kept):
            changed.append(row | {"said_by": said_by, "said_at": now})
    return [Change("pairs", new, Kind.ADD), Change("pairs", changed)]


def told_apart(catalog: Catalog, pairs: Iterable[tuple[str, str]], author: Author) -> list[Change]:
    """The changes of an act that keep pairs as different."""
    return remembered(catalog, pairs, PairVerdict.DIFFERENT, author.name)
