"""Lance tables of one catalogue: opened at a version, made, tagged, committed to against other writers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import lance
import lancedb
from lancedb.expr import Expr

from catalog.clip_spec import ClipSpec
from catalog.errors import (
    CatalogError,
    CatalogIncomplete,
    CatalogNotFound,
    ReadOnlyCatalog,
    SnapshotMissing,
    UnknownTable,
    WriteConflict,
)
from catalog.hints import nearest
from catalog.predicates.sql import sql
from catalog.schema import SCHEMAS
from catalog.snapshot import tag_of

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# The first table made; its schema carries the clip spec, so a catalogue and its spec appear in one commit.
ANCHOR = "clips"
_SPEC = b"video2lora:clip_spec"
_NEW_TABLE = {"new_table_enable_stable_row_ids": "true"}
_ATTEMPTS = 12

T = TypeVar("T")


class Tables:
    """The tables at their latest versions, or at pinned ones; picklable.

    A table that is written is opened for it. One that is read is kept open, and the store is asked each time
    whether there is a newer version, so that a reader never misses another process's commit. It is read as
    Lance's own data set: through LanceDB, which asks another thread several times, a small query takes three
    times as long.
    """

    def __init__(
        self, uri: str, storage_options: dict[str, str] | None, pinned: dict[str, int] | None
    ) -> None:
        self.uri = uri
        self.storage_options = storage_options
        self.pinned = pinned
        self._connection: lancedb.DBConnection | None = None
        self._readers: dict[str, lance.LanceDataset] = {}

    def __getstate__(self) -> dict:
        # A connection has threads and sockets; each process makes its own.
        return self.__dict__ | {"_connection": None, "_readers": {}}

    def version(self, name: str) -> int:
        """The table's latest version, or the pinned one.

        Raises:
            As `handle`.
        """
        return self.reader(name).version

    def reader(self, name: str) -> lance.LanceDataset:
        """The table at its latest version or at the pinned one: for reading only, for others hold it too.

        Raises:
            As `handle`.
        """
        if name not in SCHEMAS:
            self.handle(name)
        held = self._readers.get(name)
        try:
            if held is None:
                held = self._dataset(name)
            elif self.pinned is None and (latest := held.latest_version) != held.version:
                held = held.checkout_version(latest)
        except (ValueError, OSError):  # it is gone, or was made anew
            held = self._dataset(name)
        self._readers[name] = held
        return held

    def sql(self, name: str, dataset: lance.LanceDataset, where: Expr | None) -> str | None:
        """A filter as that data set of a table reads it."""

        def table() -> LanceTable:
            found = self.handle(name)
            found.checkout(dataset.version)
            return found

        return sql(where, table)

    def handle(self, name: str) -> LanceTable:
        """The table, to be read at its latest version or at the pinned one.

        Raises:
            UnknownTable, CatalogIncomplete, SnapshotMissing: the name, the table or the version is not there.
        """
        if name not in SCHEMAS:
            raise UnknownTable(f"A catalogue has no table {name!r}{nearest(name, SCHEMAS)}.")
        table = self._open(name)
        if self.pinned is not None:
            if name not in self.pinned:
                raise SnapshotMissing(f"The snapshot was taken before there was a table {name!r}.")
            try:
                table.checkout(self.pinned[name])
            except (RuntimeError, ValueError) as error:
                raise SnapshotMissing(
                    f"Version {self.pinned[name]} of table {name!r} is not in the catalogue at {self.uri}."
                ) from error
        return table

    def _dataset(self, name: str) -> lance.LanceDataset:
        try:
            version = self.pinned[name] if self.pinned is not None else None
            return lance.dataset(
                f"{self.uri}/{name}.lance", version=version, storage_options=self.storage_options
            )
        except (KeyError, ValueError, OSError):
            self.handle(name)  # says what is wrong
            raise

    def ensure(self, name: str, spec: ClipSpec) -> None:
        """Make the table where it is missing, and the columns that an older release did not know.

        Raises:
            CatalogError: the storage refuses the new table.
        """
        schema = SCHEMAS[name].with_metadata({_SPEC: spec.to_json()} if name == ANCHOR else None)
        options = {**(self.storage_options or {}), **_NEW_TABLE}
        try:
            table = self._open(name)
        except CatalogIncomplete:
            try:
                self._connect().create_table(name, schema=schema, storage_options=options)
                table = self._open(name)
            except (ValueError, RuntimeError) as error:
                try:
                    table = self._open(name)  # another process was first
                except CatalogIncomplete:
                    reason = str(error).splitlines()[0]
                    raise CatalogError(f"Cannot make table {name!r} in {self.uri}: {reason}.") from error
        missing = [field for field in schema if field.name not in table.schema.names]
        if missing:
            table.add_columns(missing)

    def spec(self) -> ClipSpec:
        """The clip spec that the catalogue was made with.

        Raises:
            CatalogNotFound: the tables here were made by something else.
        """
        text = (self._open(ANCHOR).schema.metadata or {}).get(_SPEC)
        if text is None:
            raise CatalogNotFound(f"{self.uri} holds Lance tables, but not those of Video2LoRA.")
        return ClipSpec.from_json(text.decode())

    def commit(self, name: str, change: Callable[[LanceTable], T]) -> T:
        """Run one change on the newest version, again and again until no other writer is in the way.

        Raises:
            ReadOnlyCatalog: the versions are pinned.
            WriteConflict: other writers kept winning.
        """
        self.refuse_when_pinned()
        for attempt in range(_ATTEMPTS):
            try:
                return change(self.handle(name))
            except (RuntimeError, OSError) as error:
                if not _is_conflict(error):
                    raise
                last = error
                time.sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
        raise WriteConflict(
            f"Other writers to table {name!r} kept winning {_ATTEMPTS} times. Run the command again."
        ) from last

    def tag(self, name: str, version: int) -> None:
        """Keep a version from being cleaned up."""
        tags = self.handle(name).tags
        if tag_of(version) in tags.list():
            return
        try:
            tags.create(tag_of(version), version)
        except RuntimeError:
            if tag_of(version) not in tags.list():  # else another process was first
                raise

    def untag(self, name: str, version: int) -> None:
        """Let a version be cleaned up."""
        tags = self.handle(name).tags
        if tag_of(version) in tags.list():
            tags.delete(tag_of(version))

    def refuse_when_pinned(self) -> None:
        """Lance would let a write through a checked-out table pass, onto the latest version."""
        if self.pinned is not None:
            raise ReadOnlyCatalog("This is a snapshot, which cannot change; write to the catalogue itself.")

    def _connect(self) -> lancedb.DBConnection:
        if self._connection is None:
            self._connection = lancedb.connect(self.uri, storage_options=self.storage_options)
        return self._connection

    def _open(self, name: str) -> LanceTable:
        try:
            # On this machine and in a bucket it is one of Lance; only LanceDB's own service has others.
            return cast("LanceTable", self._connect().open_table(name))
        except ValueError as error:
            if "was not found" not in str(error):
                raise
            raise CatalogIncomplete(
                f"The catalogue at {self.uri} has no {name} table: making it was interrupted. "
                "Run `video2lora ingest` on it again, which completes it."
            ) from error


def _is_conflict(error: Exception) -> bool:
    text = str(error).lower()
    return "conflict" in text or "concurrent" in text
