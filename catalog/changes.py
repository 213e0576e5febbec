"""What an act does to the rows of one table, with the values before and after: a value that can be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import ChangedMeanwhile, InvalidRows
from catalog.rows import storable
from catalog.schema import BLOBS, KEYS

if TYPE_CHECKING:
    from catalog.store import Catalog

_BEFORE, _AFTER = "before.", "after."
_NAMED = 3  # rows that a sentence names


class Kind(StrEnum):
    """What happens to the rows of a change."""

    UPDATE = "update"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True)
class Change:
    """Rows of one table as an act is to leave them.

    Attributes:
        table: name of the table.
        rows: the key columns and the columns to set, the same in every row; of rows that go the keys alone.
        kind: rows that are updated or removed must be there, rows that are added must not.
        seen: what the author of the act saw of these rows: the key columns and any others. Where the table
            says otherwise by now, the act is refused.
    """

    table: str
    rows: Sequence[dict]
    kind: Kind = Kind.UPDATE
    seen: Sequence[dict] = ()


@dataclass(frozen=True)
class Recorded:
    """A change with the values that it found.

    Attributes:
        values: the key columns, and `before.X` and `after.X` of every column X; rows that change only.
    """

    table: str
    kind: Kind
    values: pa.Table

    @property
    def columns(self) -> list[str]:
        """The columns that change."""
        return [name.removeprefix(_AFTER) for name in self.values.column_names if name.startswith(_AFTER)]

    @property
    def keys(self) -> list[tuple]:
        """The keys of the rows."""
        return _keys(self.values, self.table)

    def before(self) -> pa.Table:
        """The rows as they were; of added ones the keys."""
        return self._side(_BEFORE)

    def after(self) -> pa.Table:
        """The rows as they are written; of removed ones the keys."""
        return self._side(_AFTER)

    def differences(self, key: str) -> dict[str, tuple[Any, Any]]:
        """What changed in the row whose first key column is `key`: columns as (before, after)."""
        rows = self.values.filter(pc.equal(self.values[KEYS[self.table][0]], key)).to_pylist()
        names = dict.fromkeys(n.partition(".")[2] for n in self.values.column_names if "." in n)
        return {name: (row.get(_BEFORE + name), row.get(_AFTER + name)) for row in rows[:1] for name in names}

    def inverse(self) -> Change:
        """The change that puts everything back, and is refused where something changed since."""
        seen = self.after().to_pylist()
        if self.kind is Kind.ADD:
            keys = self.values.select(KEYS[self.table]).to_pylist()
            return Change(self.table, keys, Kind.REMOVE, seen)
        kind = Kind.ADD if self.kind is Kind.REMOVE else Kind.UPDATE
        return Change(self.table, self.before().to_pylist(), kind, () if kind is Kind.ADD else seen)

    def to_bytes(self) -> bytes:
        """The change as a compressed Arrow stream."""
        table = self.values.replace_schema_metadata({"table": self.table, "kind": self.kind})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Recorded:
        """Read what `to_bytes` wrote."""
        table = pa.ipc.open_stream(data).read_all()
        facts = table.schema.metadata
        return cls(facts[b"table"].decode(), Kind(facts[b"kind"].decode()), table)

    def _side(self, prefix: str) -> pa.Table:
        names = [n for n in self.values.column_names if n in KEYS[self.table] or n.startswith(prefix)]
        return self.values.select(names).rename_columns([name.removeprefix(prefix) for name in names])


def recorded(catalog: Catalog, change: Change) -> Recorded:
    """Hold a change against the table as it is; rows that are as wished already are left out.

    Raises:
        UnknownColumn, InvalidRows: rows that do not fit, are not there, or are there already.
        ChangedMeanwhile: a row is not as it was seen.
    """
    schema = catalog.schema(change.table)
    keys = KEYS[change.table]
    fields = [f for f in schema if f.name not in BLOBS.get(change.table, ())]
    wished = storable(change.rows, pa.schema(fields), keys, change.table, partial=True)
    given = [name for name in wished.column_names if name not in keys]
    removing = change.kind is Kind.REMOVE
    if removing and given:
        raise InvalidRows(f"Rows that are removed from table {change.table!r} are named by their keys alone.")
    columns = [f.name for f in fields if f.name not in keys] if removing else given
    read = dict.fromkeys((*keys, *columns, *(name for row in change.seen for name in row)))
    found = catalog.get(change.table, wished[keys[0]].to_pylist(), list(read))
    there = dict(zip(_keys(found, change.table), found.to_pylist(), strict=True))
    wanted = dict(zip(_keys(wished, change.table), wished.to_pylist(), strict=True))
    _require_presence(change, wanted, there)
    _require_seen(change, there)
    differing = [key for key, row in wanted.items() if removing or key not in there
                 or any(there[key][name] != value for name, value in row.items())]  # fmt: skip
    types = {field.name: field.type for field in fields}
    values = {name: pa.array([key[at] for key in differing], pa.string()) for at, name in enumerate(keys)}
    for name in columns:
        if change.kind is not Kind.ADD:
            values[_BEFORE + name] = pa.array([there[key][name] for key in differing], types[name])
        if not removing:
            values[_AFTER + name] = pa.array([wanted[key][name] for key in differing], types[name])
    return Recorded(change.table, change.kind, pa.table(values))


def _keys(rows: pa.Table, table: str) -> list[tuple]:
    return list(zip(*(rows[name].to_pylist() for name in KEYS[table]), strict=True))


def _require_presence(change: Change, wanted: dict, there: dict) -> None:
    if change.kind is Kind.ADD:
        if present := [key for key in wanted if key in there]:
            raise InvalidRows(f"Table {change.table!r} has these rows already: {named(present)}.")
    elif absent := [key for key in wanted if key not in there]:
        raise InvalidRows(f"Table {change.table!r} has no such rows: {named(absent)}.")


def _require_seen(change: Change, there: dict) -> None:
    seen = {tuple(row[name] for name in KEYS[change.table]): row for row in change.seen}
    stale = [
        key for key, row in seen.items() if any(there[key][name] != value for name, value in row.items())
    ]
    if stale:
        rows = "1 row was" if len(stale) == 1 else f"{len(stale)} rows were"
        raise ChangedMeanwhile(
            f"{rows} changed by somebody else meanwhile, and nothing was overwritten: {named(stale)} "
            f"of {change.table!r}. Look at them again, then repeat the command.",
            change.table,
            stale,
        )


def named(keys: Sequence[tuple]) -> str:
    """Rows by their keys, as a sentence names them: the first few."""
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(repr("/".join(key)[:80]) for key in keys[:_NAMED]) + more
