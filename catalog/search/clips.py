"""The clips at one version, as a search reads them: opened once, with the indices that make it pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from lancedb.expr import Expr
from lancedb.index import Bitmap, BTree

from catalog.store import Catalog

if TYPE_CHECKING:
    from lance import LanceDataset

# Rows not yet in an index are searched one by one; beyond this share of all rows they are indexed first.
_STALE_SHARE = 0.1
# What filters ask for: columns of few different words, and numbers.
_WORDS = ("category_id", "status", "split", "licence", "source", "category_source", "generator")
_NUMBERS = (
    "motion",
    "brightness",
    "blur",
    "letterbox",
    "flicker",
    "cut",
    "category_confidence",
    "created_at",
)
# By catalogue and name of an index, the version of which it is known that the index serves it.
_FRESH: dict[tuple[str, str], int] = {}
# By catalogue and version: columns and number of rows; by filter too: how many rows match.
_KNOWN: dict[tuple, Any] = {}
_KEPT = 256
# What Lance calls the number that a row keeps for ever.
ROW = "_rowid"

T = TypeVar("T")


@dataclass(frozen=True)
class Clips:
    """A table of clips at one version.

    Attributes:
        dataset: reads that version and no other.
    """

    catalog: Catalog
    dataset: LanceDataset

    @classmethod
    def of(cls, catalog: Catalog) -> Clips:
        """The clips of a catalogue as it is now, or as a view of the past has them."""
        return cls(catalog, catalog.tables.reader("clips"))

    @property
    def version(self) -> int:
        """Its number."""
        return self.dataset.version

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""
        return self._known("schema", lambda: self.dataset.schema)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._known("rows", self.dataset.count_rows)

    def matching(self, where: Expr) -> int:
        """How many a filter leaves."""
        said = self.sql(where)
        return self._known(str(said), lambda: self.dataset.count_rows(filter=said))

    def sql(self, where: Expr | None) -> str | None:
        """A filter as the data set reads it."""
        return self.catalog.tables.sql("clips", self.dataset, where)

    def pays(self, index_rows: int) -> bool:
        """Whether an index is used: not for fewer clips than that, nor for a view of the past."""
        return self.catalog.pinned is None and self.rows >= index_rows

    def ready(self, indices: Mapping[str, Any], where: Expr | None = None) -> Clips:
        """The clips with these indices and those that a filter can use, each of nearly all rows.

        Args:
            indices: by column, how it is to be indexed.
            where: the filter.
        """
        wanted = {**indices, **_for_filter(where)}
        uri = self.catalog.uri
        stale = [c for c in wanted if _FRESH.get((uri, _index_of(c))) != self.version]
        if not stale:
            return self
        grown = False
        table = self.catalog.tables.handle("clips")
        for column in stale:
            stats = table.index_stats(_index_of(column))
            if stats is None:
                self._make(column, wanted[column])
                grown = True
            elif not grown and stats.num_unindexed_rows > _STALE_SHARE * max(1, stats.num_indexed_rows):
                # This completes all indices of the table.
                self.catalog.tables.commit("clips", lambda t: t.to_lance().optimize.optimize_indices())
                grown = True
        ready = Clips.of(self.catalog) if grown else self
        _FRESH.update({(uri, _index_of(column)): ready.version for column in wanted})
        return ready

    def scan(
        self, columns: Iterable[str], where: Expr | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Columns and row id of the clips that match, in no promised order."""
        return self.ask(columns, where, limit=limit)

    def take(self, row_ids: Iterable[int], columns: Iterable[str]) -> dict[int, dict[str, Any]]:
        """Columns of rows, by row id."""
        return {row.pop(ROW): row for row in self.table(row_ids, columns).to_pylist()}

    def table(self, row_ids: Iterable[int], columns: Iterable[str]) -> pa.Table:
        """Columns and row id of rows, in no promised order."""
        wanted = ",".join(map(str, row_ids)) or "null"
        return self._found(columns, filter=f"{ROW} in ({wanted})")

    def ask(self, columns: Iterable[str], where: Expr | None = None, **further: Any) -> list[dict[str, Any]]:
        """Columns and row id of what a query of Lance finds among the clips that match; see its `scanner`."""
        rows: list[dict[str, Any]] = self._found(columns, filter=self.sql(where), **further).to_pylist()
        return rows

    def _found(self, columns: Iterable[str], **asked: Any) -> pa.Table:
        return self.dataset.scanner(columns=list(columns), with_row_id=True, **asked).to_table()

    def _make(self, column: str, config: Any) -> None:
        name = _index_of(column)
        self.catalog.tables.commit("clips", lambda t: t.create_index(column, config=config, name=name))

    def _known(self, what: str, find: Callable[[], T]) -> T:
        key = (self.catalog.uri, self.catalog.pinned is not None, self.version, what)
        if (found := _KNOWN.get(key)) is None:
            found = find()
            # Threads share this: each keeps what it found, whoever throws the oldest out.
            for oldest in list(_KNOWN)[: max(0, len(_KNOWN) + 1 - _KEPT)]:
                _KNOWN.pop(oldest, None)
            _KNOWN[key] = found
        return found


def _index_of(column: str) -> str:
    return f"{column}_idx"


def _for_filter(where: Expr | None) -> dict[str, Any]:
    """Indices of the columns that a filter names; one that merely stands in a text of it does no harm."""
    said = "" if where is None else where.to_sql()
    found: dict[str, Any] = {column: Bitmap() for column in _WORDS if column in said}
    return found | {column: BTree() for column in _NUMBERS if column in said}
