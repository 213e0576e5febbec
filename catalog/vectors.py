"""Columns of vectors, each of one length and one embedder: made when the first embedder comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import VectorMismatch

if TYPE_CHECKING:
    from catalog.store import Catalog

Floats = npt.NDArray[np.float32]
_EMBEDDER = b"video2lora:embedder_id"


def ensure_vectors(
    catalog: Catalog,
    table: str,
    column: str,
    dim: int,
    embedder_id: str | None = None,
    replace: bool = False,
) -> None:
    """Make the column for vectors of `dim` float32 where it is missing.

    Args:
        table: name of the table.
        column: name of the column.
        dim: length of every vector.
        embedder_id: what makes the vectors; a column takes those of one embedder only.
        replace: forget a column of another length or embedder, which snapshots keep, and make it anew.

    Raises:
        VectorMismatch: the column is there with another length or embedder.
    """
    catalog.tables.refuse_when_pinned()
    handle = catalog.tables.handle(table)
    wanted = pa.field(
        column, pa.list_(pa.float32(), dim), metadata={_EMBEDDER: embedder_id} if embedder_id else None
    )
    if replace and column in handle.schema.names and _refusal(handle.schema.field(column), wanted):
        catalog.tables.commit(table, lambda t: t.drop_columns([column]))
        handle = catalog.tables.handle(table)
    if column not in handle.schema.names:
        try:
            catalog.tables.commit(table, lambda t: t.add_columns(wanted))
        except ValueError:
            # Another process was first; whether with the same vectors is checked like any old column.
            if column not in catalog.tables.handle(table).schema.names:
                raise
    if refusal := _refusal(catalog.tables.handle(table).schema.field(column), wanted):
        raise VectorMismatch(
            f"{table}.{column} holds {refusal}. Use the embedder that this catalogue was made with, or "
            "replace all of them: `video2lora embed --again`."
        )


def unit(vectors: Floats) -> Floats:
    """Rows of length one; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _refusal(found: pa.Field, wanted: pa.Field) -> str:
    """What a column holds that cannot take the wanted vectors; empty where it can."""
    if found.type != wanted.type:
        return f"{found.type}, not vectors of length {wanted.type.list_size}"
    owner, embedder = ((each.metadata or {}).get(_EMBEDDER, b"").decode() for each in (found, wanted))
    if owner and embedder and owner != embedder:
        return f"vectors of embedder {owner!r}, not of {embedder!r}"
    return ""
