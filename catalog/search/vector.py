"""Clips by a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from lancedb.expr import Expr
from lancedb.index import IvfRq

from catalog.errors import CatalogError, VectorMismatch
from catalog.names import CategoryNames
from catalog.search.hits import COLUMNS, best
from catalog.store import Catalog

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# Up to here all vectors are compared, which takes less than a tenth of a second and is exact.
VECTOR_INDEX_ROWS = 50_000
# Rows not yet in the index are compared one by one; beyond this share of all rows they are indexed first.
_STALE_SHARE = 0.1
# Four bits a dimension and twice the hits compared exactly find what one bit, Lance's default, loses.
_BITS, _REFINE, _PROBES = 4, 2, 32
# By catalogue and index, the version of which it is known that the index serves it.
_FRESH: dict[tuple[str, str], int] = {}


def search_vector(
    catalog: Catalog,
    vector: Sequence[float],
    where: Expr | None = None,
    limit: int = 20,
    column: str = "embedding",
    index_rows: int = VECTOR_INDEX_ROWS,
    reason: str = "it looks like the example",
) -> list[dict]:
    """Clips whose vector points the same way, the best first.

    Exact by comparing all, until the clips are so many that an index pays; it is made then and kept fresh.

    Args:
        catalog: the catalogue, or a view of the past, which has no index.
        vector: of the column's length, shape [dim].
        where: only these clips.
        limit: at most so many.
        column: which vectors of the clips.
        index_rows: number of clips from which on an index is made and used.
        reason: what the vector stands for, to say why a clip was found.

    Returns:
        As `search_text`; `score` is the cosine similarity, -1 to 1.

    Raises:
        CatalogError: nothing is embedded yet.
        VectorMismatch: the vector has another length, is zero or not finite.
    """
    handle = catalog.tables.handle("clips")
    values = _checked(handle.schema, vector, column)
    if limit < 1:
        return []
    indexed = catalog.pinned is None and handle.count_rows() >= index_rows
    if indexed and _freshen_index(catalog, handle, column):
        handle = catalog.tables.handle("clips")
    search = handle.search(values, vector_column_name=column, query_type="vector")
    search = search.metric("cosine")
    if where is not None:
        search = search.where(where)
    search = search.refine_factor(_REFINE).nprobes(_PROBES) if indexed else search.bypass_vector_index()
    # A clip without a vector has no distance. (To ask for `embedding` not null would read all vectors.)
    rows = [
        row
        for row in search.select([*COLUMNS, "_distance"]).limit(limit).to_list()
        if row["_distance"] is not None
    ]
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
        row["why"] = f"{reason} ({row['score']:.2f})"
    return best(rows, CategoryNames.load(catalog, handle.version), limit)


def _checked(schema: pa.Schema, vector: Sequence[float], column: str) -> list[float]:
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
    return values


def _freshen_index(catalog: Catalog, handle: LanceTable, column: str) -> bool:
    """See that the index has nearly all rows; returns whether it was made or grew."""
    name, version = f"{column}_idx", handle.version
    if _FRESH.get((catalog.uri, name)) == version:
        return False
    stats = handle.index_stats(name)
    stale = stats is None or stats.num_unindexed_rows > _STALE_SHARE * max(1, stats.num_indexed_rows)
    if stats is None:
        config = IvfRq(distance_type="cosine", num_bits=_BITS)
        catalog.tables.commit("clips", lambda t: t.create_index(column, config=config, name=name))
    elif stale:
        catalog.tables.commit("clips", lambda t: t.to_lance().optimize.optimize_indices())
    if not stale:
        _FRESH[catalog.uri, name] = version
    return stale
