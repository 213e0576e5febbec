"""Clips by the words of their captions and categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from lancedb.expr import Expr, col
from lancedb.index import FTS

from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.search.bm25 import bm25
from catalog.search.clips import ROW, Clips
from catalog.search.hits import COLUMNS, best
from catalog.search.vector import COMMON, candidates
from catalog.store import Catalog
from catalog.words import telling, words

# Below this a scan of all captions takes a fraction of a second and needs no index to keep fresh.
INDEX_ROWS = 20_000
# A question, and no document.
LONGEST_QUERY = 4_000
# A clip of the effect that was asked for comes before one whose caption merely says the word.
_CATEGORY_WEIGHT = 10.0
# How captions are indexed.
TEXT_INDEX = FTS()


def search_text(
    catalog: Catalog, query: str, where: Expr | None = None, limit: int = 20, index_rows: int = INDEX_ROWS
) -> list[dict]:
    """Clips whose caption, category name or alias has the words of a query, the best first.

    Args:
        catalog: the catalogue; a view of the past is searched as it was.
        query: words; their endings, case and accents make little difference.
        where: only these clips, see `clip_filter`.
        limit: at most so many.
        index_rows: number of clips from which on a full-text index is made and used.

    Returns:
        `clip_id`, `category` (its name), `category_id`, `caption`, `source_uri`, `score` (higher: better) and
        `why` it was found.

    Raises:
        CatalogError: a query of more than `LONGEST_QUERY` characters.
    """
    clips = Clips.of(catalog)
    indexed = clips.pays(index_rows)
    if indexed and limit > 0 and words(query):
        clips = clips.ready({"caption": TEXT_INDEX}, where)
    names = CategoryNames.load(catalog, clips.version)
    return best(said_by(clips, names, query, where, limit, indexed, COLUMNS), names, limit)


def said_by(
    clips: Clips,
    names: CategoryNames,
    query: str,
    where: Expr | None,
    limit: int,
    indexed: bool,
    columns: Sequence[str] = ("clip_id", "category_id"),
) -> list[dict]:
    """The clips that say the words, the best first: row id, `score`, `why` and the columns asked for.

    Args:
        indexed: by the index, which is there; else all captions are read.
        columns: `clip_id` and `category_id` among them.

    Raises:
        CatalogError: as `search_text`.
    """
    if len(query) > LONGEST_QUERY:
        raise CatalogError(
            f"What is searched for has {len(query):,} characters; at most {LONGEST_QUERY:,} are read."
        )
    wanted = telling(query)
    if not wanted or limit < 1:
        return []
    shares = names.matching(query)
    if indexed:
        rows = _indexed(clips, query, shares, where, limit, columns)
    else:
        rows = clips.scan(dict.fromkeys((*columns, "caption")), where)
        scores = bm25(wanted, [words(row["caption"]) for row in rows])
        rows = [
            row | {"score": score}
            for row, score in zip(rows, scores, strict=True)
            if score > 0 or row["category_id"] in shares
        ]
    for row in rows:
        reasons = ["its caption says so"] if row["score"] > 0 else []
        if share := shares.get(row["category_id"], 0.0):
            reasons.insert(0, f"its category is {names.name_of(row['category_id'])}")
        row["why"] = "; ".join(reasons)
        row["score"] += _CATEGORY_WEIGHT * share
    rows = [row for row in rows if row["score"] > 0]
    return sorted(rows, key=lambda row: (-row["score"], row["clip_id"]))[:limit]


def _indexed(
    clips: Clips,
    query: str,
    shares: dict[str, float],
    where: Expr | None,
    limit: int,
    columns: Sequence[str],
) -> list[dict]:
    """Candidates among which the best `limit` are, with the score of their captions.

    The category adds the same to all clips of one share, so the best of each share, and of all, are enough.
    """

    def ask(most: int, only: Expr | None, before: bool = True) -> list[dict]:
        rows = clips.ask(
            [*columns, "_score"],
            only,
            full_text_query={"query": query, "columns": ["caption"]},
            limit=most,
            prefilter=before,
        )
        return [row | {"score": row.pop("_score")} for row in rows[:limit]]

    def captions(only: Expr | None, share: float) -> list[dict]:
        if share >= COMMON:
            rows = ask(candidates(limit, share), only, before=False)
            if len(rows) == limit:
                return rows
        return ask(limit, only)

    share = 0.0 if where is None else clips.matching(where) / max(1, clips.rows)
    found = {row[ROW]: row for row in captions(where, share)}
    groups: dict[float, list[str]] = defaultdict(list)
    for category_id, part in shares.items():
        groups[part].append(category_id)
    for category_ids in groups.values():
        inside = col("category_id").isin(category_ids)
        inside = inside if where is None else inside & where
        silent = clips.scan(columns, inside, limit)
        rows = [row | {"score": 0.0} for row in silent] + captions(inside, 0.0)
        found |= {row[ROW]: row for row in rows if row[ROW] not in found or row["score"]}
    return list(found.values())
