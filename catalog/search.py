"""Finding clips by words, by a vector and by a filter. Results are right from the moment a row is written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
from lancedb.expr import Expr, col
from lancedb.index import FTS
from lancedb.query import MatchQuery

from catalog.errors import CatalogError, VectorMismatch
from catalog.names import CategoryNames
from catalog.predicates import Synonym, not_null, parse
from catalog.store import Catalog
from catalog.words import bm25, words

# Below this a scan of all captions takes a fraction of a second and needs no index to keep fresh.
INDEX_ROWS = 20_000
# Rows not yet in the index are searched one by one; beyond this share of all rows they are indexed first.
_STALE_SHARE = 0.1
_CAPTION_INDEX = "caption_idx"
# A clip of the effect that was asked for comes before one whose caption merely says the word.
_CATEGORY_WEIGHT = 10.0
_COLUMNS = ["clip_id", "category_id", "caption", "source_uri"]


def clip_filter(catalog: Catalog, text: str) -> Expr:
    """The filter language over clips, in which `category` also takes names and aliases.

    Raises:
        BadFilter: what is wrong and where, with the nearest column or category.
    """
    synonym = Synonym("category_id", CategoryNames.load(catalog).ids_named)
    return parse(text, catalog.schema("clips"), {"category": synonym})


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
        `clip_id`, `category` (its name), `category_id`, `caption`, `source_uri` and `score` (higher: better).
    """
    wanted = words(query)
    if not wanted or limit < 1:
        return []
    categories = CategoryNames.load(catalog)
    shares = categories.matching(query)
    if catalog.pinned is None and catalog.count("clips") >= index_rows:
        rows = _indexed(catalog, query, shares, where, limit)
    else:
        rows = catalog.scan("clips", _COLUMNS, where).to_pylist()
        scores = bm25(wanted, [words(row["caption"]) for row in rows])
        rows = [row | {"score": score} for row, score in zip(rows, scores, strict=True)]
    for row in rows:
        row["score"] += _CATEGORY_WEIGHT * shares.get(row["category_id"], 0.0)
    return _best([row for row in rows if row["score"] > 0], categories, limit)


def search_vector(
    catalog: Catalog,
    vector: Sequence[float],
    where: Expr | None = None,
    limit: int = 20,
    column: str = "embedding",
) -> list[dict]:
    """Clips whose vector points the same way, the best first; exact, by comparing all.

    Args:
        catalog: the catalogue, or a view of the past.
        vector: of the column's length, shape [dim].
        where: only these clips.
        limit: at most so many.
        column: which vectors of the clips.

    Returns:
        As `search_text`; `score` is the cosine similarity, -1 to 1.

    Raises:
        CatalogError: nothing is embedded yet.
        VectorMismatch: the vector has another length, is zero or not finite.
    """
    schema = catalog.schema("clips")
    if column not in schema.names or not pa.types.is_fixed_size_list(schema.field(column).type):
        raise CatalogError(f"The clips have no vectors {column!r} yet; make them with `video2lora embed`.")
    values = [float(value) for value in vector]
    if len(values) != schema.field(column).type.list_size:
        raise VectorMismatch(
            f"A vector of length {len(values)} cannot be compared with those of length "
            f"{schema.field(column).type.list_size} in clips.{column}; use the embedder they were made with."
        )
    if not all(map(math.isfinite, values)) or not any(values):
        raise VectorMismatch("A vector to search with must be finite and not zero.")
    if limit < 1:
        return []
    embedded = not_null(column)
    search = catalog.tables.handle("clips").search(values, vector_column_name=column, query_type="vector")
    search = search.metric("cosine").where(embedded if where is None else embedded & where)
    rows = search.bypass_vector_index().select([*_COLUMNS, "_distance"]).limit(limit).to_list()
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
    return _best(rows, CategoryNames.load(catalog), limit)


def _indexed(
    catalog: Catalog, query: str, shares: dict[str, float], where: Expr | None, limit: int
) -> list[dict]:
    """Candidates among which the best `limit` are, with the score of their captions.

    The category adds the same to all clips of one share, so the best of each share, and of all, are enough.
    """
    _freshen_index(catalog)
    handle = catalog.tables.handle("clips")

    def captions(only: Expr | None) -> list[dict]:
        search = handle.search(MatchQuery(query, "caption")).select([*_COLUMNS, "_score"]).limit(limit)
        rows = (search if only is None else search.where(only)).to_list()
        return [row | {"score": row.pop("_score")} for row in rows]

    found = {row["clip_id"]: row for row in captions(where)}
    groups: dict[float, list[str]] = defaultdict(list)
    for category_id, share in shares.items():
        groups[share].append(category_id)
    for category_ids in groups.values():
        inside = col("category_id").isin(category_ids)
        inside = inside if where is None else inside & where
        silent = catalog.scan("clips", _COLUMNS, inside, limit).to_pylist()
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


def _best(rows: list[dict], categories: CategoryNames, limit: int) -> list[dict]:
    rows = sorted(rows, key=lambda row: (-row["score"], row["clip_id"]))[:limit]
    return [
        {
            "clip_id": row["clip_id"],
            "category": categories.name_of(row["category_id"]),
            "category_id": row["category_id"],
            "caption": row["caption"],
            "source_uri": row["source_uri"],
            "score": row["score"],
        }
        for row in rows
    ]
