"""Rows as callers have them, made into the Arrow table that one commit writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import InvalidRows, UnknownColumn
from catalog.hints import nearest
from catalog.schema import JSON_COLUMNS

Rows: TypeAlias = Sequence[dict] | pa.Table


def storable(rows: Rows, schema: pa.Schema, key: tuple[str, ...], table: str, *, partial: bool) -> pa.Table:
    """Check rows against a table and give them its column types.

    Args:
        rows: dicts, or an Arrow table whose columns can be cast.
        schema: the table's columns as they are written (blobs as large_binary).
        key: the columns that identify a row; of rows with the same key the last one stays.
        table: the table's name, for messages.
        partial: True keeps only the columns that `rows` have; False adds the missing ones as null.

    Raises:
        UnknownColumn: a column that the table does not have.
        InvalidRows: a key that is missing, null or empty; a value of the wrong type; with `partial`,
            dicts that do not all have the same columns.
    """
    given = _columns(rows, table, partial)
    for name in given:
        if name not in schema.names:
            raise UnknownColumn(f"Table {table!r} has no column {name!r}{nearest(name, schema.names)}.")
    for name in key:
        if name not in given:
            raise InvalidRows(f"Rows for table {table!r} need the key column {name!r}.")
    fields = [field for field in schema if not partial or field.name in given]
    columns = [_column(rows, field, field.name in given, table) for field in fields]
    for field, column in zip(fields, columns, strict=True):
        _check_vectors(column, field, table)
    result = pa.table(columns, schema=pa.schema(fields))
    return _last_of_each_key(result, key, table)


def _columns(rows: Rows, table: str, partial: bool) -> list[str]:
    if isinstance(rows, pa.Table):
        if len(set(rows.column_names)) < rows.num_columns:
            raise InvalidRows(f"The rows for table {table!r} have two columns of the same name.")
        return rows.column_names
    first: dict = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidRows(f"Row {number} for table {table!r} is a {type(row).__name__}, not a dict.")
        if partial and number and row.keys() != first.keys():
            # A missing column would become null, which is not what an update of *given* columns means.
            differing = ", ".join(sorted(map(str, row.keys() ^ first.keys())))
            raise InvalidRows(
                f"Rows of one update must have the same columns; row {number} for {table!r} differs in: "
                f"{differing}."
            )
        first = dict.fromkeys((*first, *row))
    return list(first)


def _column(rows: Rows, field: pa.Field, given: bool, table: str) -> pa.Array | pa.ChunkedArray:
    if not given:
        return pa.nulls(len(rows), field.type)
    try:
        if isinstance(rows, pa.Table):
            return rows[field.name].cast(field.type)
        return pa.array((_value(row.get(field.name), field) for row in rows), field.type, size=len(rows))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidRows(
            f"Column {field.name!r} of table {table!r} holds {field.type}; "
            f"a given value does not fit: {reason}."
        ) from error


def _check_vectors(column: pa.Array | pa.ChunkedArray, field: pa.Field, table: str) -> None:
    """Refuse what LanceDB would silently write as null: NaNs, and a `vector` column of several lengths."""
    kind = field.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return
    if not pa.types.is_floating(kind.value_type):
        return
    if pc.any(pc.is_nan(pc.list_flatten(column))).as_py():
        raise InvalidRows(f"Column {field.name!r} of table {table!r} was given a vector with a NaN.")
    lengths = pc.unique(pc.drop_null(pc.list_value_length(column))).to_pylist()
    if field.name == "vector" and len(lengths) > 1:
        raise InvalidRows(
            f"Column {field.name!r} of table {table!r} was given vectors of lengths {sorted(lengths)}; "
            "write those of one length in one call."
        )


def _value(value: object, field: pa.Field) -> object:
    if field.name in JSON_COLUMNS and isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value


def _last_of_each_key(rows: pa.Table, key: Iterable[str], table: str) -> pa.Table:
    key = tuple(key)
    values = [rows[name].to_pylist() for name in key]
    last: dict[tuple, int] = {}
    for number, identity in enumerate(zip(*values, strict=True)):
        for name, part in zip(key, identity, strict=True):
            if not part:
                empty = "empty" if part == "" else "null"
                raise InvalidRows(f"Row {number} for table {table!r} has an {empty} key {name!r}.")
        last[identity] = number
    return rows if len(last) == rows.num_rows else rows.take(sorted(last.values()))
