"""What a search gives: clips with a score and the reason why, the best first."""

from collections.abc import Sequence

from catalog.names import CategoryNames
from catalog.search.clips import ROW, Clips

# What a search has to read of a clip.
COLUMNS = ("clip_id", "category_id", "caption", "source_uri")


def best(rows: list[dict], categories: CategoryNames, limit: int, also: Sequence[str] = ()) -> list[dict]:
    """Hits of rows that have been read, the best first, ties by clip id; `also` are further columns."""
    rows = sorted(rows, key=lambda row: (-row["score"], row["clip_id"]))[:limit]
    return [_hit(row, row, categories) | {name: row[name] for name in also} for row in rows]


def read(clips: Clips, rows: list[dict], categories: CategoryNames) -> list[dict]:
    """Hits of row ids with a score and a reason, in their order."""
    facts = clips.take([row[ROW] for row in rows], COLUMNS)
    return [_hit(facts[row[ROW]], row, categories) for row in rows]


def _hit(facts: dict, found: dict, categories: CategoryNames) -> dict:
    return {
        "clip_id": facts["clip_id"],
        "category": categories.name_of(facts["category_id"]),
        "category_id": facts["category_id"],
        "caption": facts["caption"],
        "source_uri": facts["source_uri"],
        "score": found["score"],
        "why": found["why"],
    }
