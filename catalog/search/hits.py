"""What a search gives: clips with a score and the reason why, the best first."""

from catalog.names import CategoryNames

# What a search has to read of a clip.
COLUMNS = ("clip_id", "category_id", "caption", "source_uri")


def best(rows: list[dict], categories: CategoryNames, limit: int) -> list[dict]:
    rows = sorted(rows, key=lambda row: (-row["score"], row["clip_id"]))[:limit]
    return [
        {
            "clip_id": row["clip_id"],
            "category": categories.name_of(row["category_id"]),
            "category_id": row["category_id"],
            "caption": row["caption"],
            "source_uri": row["source_uri"],
            "score": row["score"],
            "why": row["why"],
        }
        for row in rows
    ]
