"""Clips by a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
from lancedb.expr import Expr

from catalog.errors import CatalogError, VectorMismatch
from catalog.names import CategoryNames
from catalog.predicates import not_null
from catalog.search.hits import COLUMNS, best
from catalog.store import Catalog


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
    rows = search.bypass_vector_index().select([*COLUMNS, "_distance"]).limit(limit).to_list()
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
    return best(rows, CategoryNames.load(catalog), limit)
