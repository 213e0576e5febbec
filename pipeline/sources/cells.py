"""Videos as cells of a Parquet table: bytes, or Hugging Face's {bytes, path}."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.addresses import address_of
from pipeline.sources.manifests import Listing, resolve_columns, said_by, unread
from pipeline.sources.rows import Row, bytes_column
from pipeline.sources.source import Refusal, Source

_CHUNK = 4 * 1024**2


@dataclass(frozen=True)
class Cell:
    """The bytes of one row of a column."""

    table: Path
    column: str
    row: int

    def told(self) -> tuple[None, float]:
        # How many bytes a cell has is known only when it is read.
        return None, self.table.stat().st_mtime

    def identity(self) -> Iterator[bytes]:
        return self.content()

    def content(self) -> Iterator[bytes]:
        data = _reader(self.table, self.column).cell(self.row)
        for at in range(0, len(data), _CHUNK):
            yield data[at : at + _CHUNK]


@dataclass
class _Reader:
    """Goes through a column from top to bottom, for rows are asked for in their order."""

    table: Path
    column: str
    changed: int
    _rows: Iterator = field(default=iter(()))
    _next: int = -1

    def cell(self, row: int) -> memoryview:
        try:
            if not 0 <= self._next <= row:
                self._begin(row)
            while self._next <= row:
                value = next(self._rows)
                self._next += 1
        except StopIteration:
            raise FileNotFoundError(2, "The table has no such row", f"{self.table}, row {row}") from None
        except pa.ArrowException as error:
            raise OSError(None, f"The table cannot be read ({error})") from error
        if isinstance(value, pa.StructScalar):
            value = value["bytes"]
        if not value.is_valid:
            raise OSError(None, "The row holds no bytes")
        return memoryview(value.as_buffer())

    def _begin(self, row: int) -> None:
        """Open the table at the group of rows that holds this one."""
        file = pq.ParquetFile(self.table, buffer_size=1024**2)
        first, group = 0, 0
        while group < file.num_row_groups and first + file.metadata.row_group(group).num_rows <= row:
            first += file.metadata.row_group(group).num_rows
            group += 1
        groups = list(range(group, file.num_row_groups))
        batches = file.iter_batches(batch_size=1, row_groups=groups, columns=[self.column])
        self._rows = (batch.column(0)[0] for batch in batches)
        self._next = first


_open: dict[str, _Reader] = {}


def _reader(table: Path, column: str) -> _Reader:
    """The one reader that this process keeps."""
    changed = table.stat().st_mtime_ns
    reader = _open.get("reader")
    if reader is None or (reader.table, reader.column, reader.changed) != (table, column, changed):
        reader = _open["reader"] = _Reader(table, column, changed)
    return reader


def listing(table: Path, columns: Mapping[str, str] | None, label: str | None) -> Listing | None:
    """The videos of a table that holds their bytes; None where it holds none.

    Args:
        columns: our name of a column to the table's, as for a manifest.
        label: the category of videos that the table does not label.

    Raises:
        BadManifest: a column is mapped that the table lacks.
    """
    address = address_of(table)
    try:
        schema = pq.read_schema(table)
        if (held := bytes_column(schema)) is None:
            return None
        others = [name for name in schema.names if name != held]
        told = pq.read_table(table, columns=others).to_pylist()
        count = pq.read_metadata(table).num_rows
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        return Listing(
            [
                Source(
                    address, refusal=Refusal("damaged_table", f"The table is not Parquet, or damaged: {why}.")
                )
            ]
        )
    classes = _class_names(schema)
    # A column of paths is what every list of videos has; here the bytes are in its place.
    rows = [
        Row(number, {"path": held} | {key: _class(classes, key, value) for key, value in row.items()})
        for number, row in enumerate(told or [{}] * count)
    ]
    names = resolve_columns(table, rows, columns) if rows else {}
    sources = []
    for row in rows:
        said = said_by(row, names)
        said["label"] = said.get("label") or label
        sources.append(Source(f"{address}!/{held}/{row.line:07d}", **said))
    notes = [f"the videos of {table.name} are in its column {held!r}"]
    return Listing(sources, notes + [f"{table.name}: {note}" for note in unread(rows, names | {"": "path"})])


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """By column, what numbers stand for, as Hugging Face's `datasets` writes it into a table."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _class(classes: dict[str, list[str]], column: str, value: object) -> object:
    names = classes.get(column)
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value
