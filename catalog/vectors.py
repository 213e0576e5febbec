"""Columns of vectors, each of one length and one embedder: made when the first embedder comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from catalog.errors import VectorMismatch

if TYPE_CHECKING:
    from catalog.store import Catalog

_EMBEDDER = b"video2lora:embedder_id"


def ensure_vectors(
    catalog: Catalog, table: str, column: str, dim: int, embedder_id: str | None = None
) -> None:
    """Make the column for vectors of `dim` float32 where it is missing.

    Args:
        table: name of the table.
        column: name of the column.
        dim: length of every vector.
        embedder_id: what makes the vectors; a column takes those of one embedder only.

    Raises:
        VectorMismatch: the column is there with another length or embedder.
    """
    catalog.tables.refuse_when_pinned()
    handle = catalog.tables.handle(table)
    wanted = pa.field(
        column, pa.list_(pa.float32(), dim), metadata={_EMBEDDER: embedder_id} if embedder_id else None
    )
    if column not in handle.schema.names:
        try:
            catalog.tables.commit(table, lambda t: t.add_columns(wanted))
        except ValueError:
            # Another process was first; whether with the same vectors is checked like any old column.
            if column not in catalog.tables.handle(table).schema.names:
                raise
    found = catalog.tables.handle(table).schema.field(column)
    if found.type != wanted.type:
        raise VectorMismatch(
            f"{table}.{column} holds {found.type}, not vectors of length {dim}. "
            "Use the embedder that this catalogue was made with, or start another catalogue."
        )
    owner = (found.metadata or {}).get(_EMBEDDER, b"").decode()
    if owner and embedder_id and owner != embedder_id:
        raise VectorMismatch(
            f"{table}.{column} holds vectors of embedder {owner!r}, not of {embedder_id!r}. "
            "Use that embedder, or start another catalogue."
        )
