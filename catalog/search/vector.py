"""Clips by a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import Expr
from lancedb.index import IvfRq

from catalog.errors import CatalogError, VectorMismatch
from catalog.names import CategoryNames
from catalog.search.clips import ROW, Clips
from catalog.search.hits import COLUMNS, best
from catalog.store import Catalog

# Up to here all vectors are compared, which takes less than a tenth of a second and is exact.
VECTOR_INDEX_ROWS = 50_000
# Four bits a dimension, and thrice the hits compared exactly, find what one bit, Lance's default, loses.
_BITS, REFINE = 4, 3
# Clips of a partition; so many are looked into, of a million clips a thirtieth; one more for so many hits.
_PARTITION, PROBES, _HITS_OF_A_PROBE = 1_024, 32, 500
# A filter that leaves so few is searched exactly: the partitions near a vector may hold none of them.
_COMPARED = 3_000
# One that leaves this share is applied to what is found: sooner than to know all clips that match.
COMMON = 0.4


def search_vector(
    catalog: Catalog,
    vector: Sequence[float],
    where: Expr | None = None,
    limit: int = 20,
    column: str = "embedding",
    index_rows: int = VECTOR_INDEX_ROWS,
    reason: str = "it looks like the example",
    also: Sequence[str] = (),
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
        also: further columns of the clips that are found.

    Returns:
        As `search_text`; `score` is the cosine similarity, -1 to 1.

    Raises:
        CatalogError: nothing is embedded yet.
        VectorMismatch: the vector has another length, is zero or not finite.
    """
    clips = Clips.of(catalog)
    values = checked(clips, vector, column)
    if limit < 1:
        return []
    indexed = clips.pays(index_rows)
    if indexed:
        clips = clips.ready({column: INDEX}, where)
    rows = nearest(clips, values, where, limit, column, indexed, reason, (*COLUMNS, *also))
    return best(rows, CategoryNames.load(catalog, clips.version), limit, also)


# How vectors are indexed.
INDEX = IvfRq(distance_type="cosine", num_bits=_BITS, target_partition_size=_PARTITION)


def nearest(
    clips: Clips,
    values: list[float],
    where: Expr | None,
    limit: int,
    column: str,
    indexed: bool,
    reason: str,
    columns: Sequence[str] = (),
    refine: int = REFINE,
) -> list[dict]:
    """The nearest clips, the best first: their row id, `score`, `why` and the columns asked for.

    Args:
        indexed: by the index, which is there; else all are compared.
        refine: so many times the limit are compared exactly.
    """

    def ask(most: int, where: Expr | None, exact: int, before: bool = True, everywhere: bool = False) -> list:
        near: dict[str, Any] = {"column": column, "q": values, "k": most, "metric": "cosine"}
        if compared:
            near["use_index"] = False
        else:
            near["minimum_nprobes"] = probes = max(PROBES, limit // _HITS_OF_A_PROBE)
            near["maximum_nprobes"] = None if everywhere else probes
            near |= {"refine_factor": exact} if exact else {}
        rows = clips.ask([*(columns if exact else ()), "_distance"], where, nearest=near, prefilter=before)
        # A clip without a vector has no distance. (To ask for `embedding` not null would read all vectors.)
        return [row for row in rows if row["_distance"] is not None]

    matching = clips.rows if where is None or not indexed else clips.matching(where)
    compared = not indexed or matching <= _COMPARED
    if where is not None and not compared and (share := matching / clips.rows) >= COMMON:
        # What the filter takes away again is not compared exactly.
        roughly = ask(candidates(refine * limit, share), where, exact=0, before=False)[: refine * limit]
        rows = _exactly(clips, [row[ROW] for row in roughly], values, column, columns)[:limit]
    else:
        rows = ask(limit, where, exact=refine)
    if where is not None and not compared and len(rows) < min(limit, matching):
        rows = ask(limit, where, exact=refine, everywhere=True)  # what matches lies elsewhere
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
        row["why"] = f"{reason} ({row['score']:.2f})"
    return rows


def _exactly(
    clips: Clips, row_ids: Sequence[int], values: list[float], column: str, columns: Sequence[str]
) -> list[dict]:
    """Rows with columns and the exact distance, the nearest first."""
    if not row_ids:
        return []
    found = clips.table(row_ids, dict.fromkeys((*columns, column)))
    flat = pc.list_flatten(found[column]).to_numpy(zero_copy_only=False)
    vectors, asked = flat.reshape(len(found), -1), np.asarray(values, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked)
    distances = (1.0 - vectors @ asked / np.maximum(lengths, 1e-12)).tolist()
    rows = found.select([*columns, ROW]).to_pylist()
    said = [row | {"_distance": distance} for row, distance in zip(rows, distances, strict=True)]
    return sorted(said, key=lambda row: row["_distance"])


def candidates(limit: int, share: float) -> int:
    """How many are found so that after a filter, which leaves that share of all, the limit is likely left."""
    return 10 + math.ceil(1.2 * limit / share)


def checked(clips: Clips, vector: Sequence[float], column: str) -> list[float]:
    """The vector as numbers, where it can be compared with the column's.

    Raises:
        CatalogError, VectorMismatch: as `search_vector`.
    """
    schema = clips.schema
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
