"""Clips by the words of their captions and categories."""

from __future__ import annotations

from collections import defaultdict

from lancedb.expr import Expr, col
from lancedb.index import FTS

from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.search.bm25 import bm25
from catalog.search.hits import COLUMNS, best
from catalog.store import Catalog
from catalog.words import words

# Below this a scan of all captions takes a fraction of a second and needs no index to keep fresh.
INDEX_ROWS = 20_000
# A question, and no document.
LONGEST_QUERY = 4_000
# Rows not yet in the index are searched one by one; beyond this share of all rows they are indexed first.
_STALE_SHARE = 0.1
_CAPTION_INDEX = "caption_idx"
# A clip of the effect that was asked for comes before one whose caption merely says the word.
_CATEGORY_WEIGHT = 10.0


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
    if len(query) > LONGEST_QUERY:
        raise CatalogError(
            f"What is searched for has {len(query):,} characters; at most {LONGEST_QUERY:,} are read."
        )
    wanted = words(query)
    if not wanted or limit < 1:
        return []
    categories = CategoryNames.load(catalog)
    shares = categories.matching(query)
    if catalog.pinned is None and catalog.count("clips") >= index_rows:
        rows = _indexed(catalog, query, shares, where, limit)
    else:
        rows = catalog.scan("clips", COLUMNS, where).to_pylist()
        scores = bm25(wanted, [words(row["caption"]) for row in rows])
        rows = [
            row | {"score": score}
            for row, score in zip(rows, scores, strict=True)
            if score > 0 or row["category_id"] in shares
        ]
    for row in rows:
        said = ["its caption says so"] if row["score"] > 0 else []
        if share := shares.get(row["category_id"], 0.0):
            said.insert(0, f"its category is {categories.name_of(row['category_id'])}")
        row["why"] = "; ".join(said)
        row["score"] += _CATEGORY_WEIGHT * share
    return best([row for row in rows if row["score"] > 0], categories, limit)


def _indexed(
    catalog: Catalog, query: str, shares: dict[str, float], where: Expr | None, limit: int
) -> list[dict]:
    """Candidates among which the best `limit` are, with the score of their captions.

    The category adds the same to all clips of one share, so the best of each share, and of all, are enough.
    """
    _freshen_index(catalog)
    handle = catalog.tables.handle("clips")

    def captions(only: Expr | None) -> list[dict]:
        search = handle.search(query, query_type="fts", fts_columns="caption")
        search = search.select([*COLUMNS, "_score"]).limit(limit)
        rows = (search if only is None else search.where(only)).to_list()
        return [row | {"score": row.pop("_score")} for row in rows]

    found = {row["clip_id"]: row for row in captions(where)}
    groups: dict[float, list[str]] = defaultdict(list)
    for category_id, share in shares.items():
        groups[share].append(category_id)
    for category_ids in groups.values():
        inside = col("category_id").isin(category_ids)
        inside = inside if where is None else inside & where
        silent = catalog.scan("clips", COLUMNS, inside, limit).to_pylist()
        rows = [row | {"score": 0.0} for row in silent] + captions(inside)
        found |= {row["clip_id"]: row for row in rows if row["clip_id"] not in found or row["score"]}
    return list(found.values())


def _freshen_index(catalog: Catalog) -> None:
    handle = catalog.tables.handle("clips")
    stats = handle.index_stats(_CAPTION_INDEX)
    if stats is None:
        catalog.tables.commit("clips", lambda t: t.create_index("caption", config=FTS(), name=_CAPTION_INDEX))
    elif stats.num_unindexed_rows > _STALE_SHARE * max(1, stats.num_indexed_rows):
        catalog.tables.commit("clips", lambda t: t.to_lance().optimize.optimize_indices())
