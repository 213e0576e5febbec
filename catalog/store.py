"""The catalogue: Lance tables in one folder or bucket, read and written by any number of processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import Expr, col

from catalog.clip_spec import ClipSpec
from catalog.errors import (
    CatalogError,
    CatalogIncomplete,
    CatalogNotFound,
    SnapshotMissing,
    SpecMismatch,
    UnknownColumn,
    WriteConflict,
)
from catalog.hints import nearest
from catalog.rows import Rows, storable
from catalog.schema import BLOBS, KEYS, SCHEMAS
from catalog.snapshot import Snapshot
from catalog.tables import ANCHOR, Tables
from catalog.vocabulary import EventState

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# Seconds that a snapshot waits for an act to be done.
_PATIENCE = 10.0
_KEYS_PER_QUERY = 2_000
# From here on one scan of the table is cheaper than a query for every 2,000 keys.
_KEYS_WORTH_A_SCAN = 20_000


class Catalog:
    """A handle on one catalogue; cheap, picklable, and safe to use from several processes at once.

    Every read sees the latest commit, unless the handle came from `at`. Make one with `create` or `open`.

    Attributes:
        uri: absolute path or `s3://bucket/prefix`.
        spec: geometry of the clips in it.
        pinned: version of every table for a view of the past, else None.
        tables: the Lance tables beneath, for this room's own modules.
    """

    def __init__(
        self,
        uri: str,
        spec: ClipSpec,
        storage_options: dict[str, str] | None = None,
        pinned: dict[str, int] | None = None,
    ) -> None:
        self.uri = uri
        self.spec = spec
        self.storage_options = storage_options
        self.pinned = pinned
        self.tables = Tables(uri, storage_options, pinned)

    @classmethod
    def create(
        cls, uri: str | Path, spec: ClipSpec, storage_options: dict[str, str] | None = None
    ) -> Catalog:
        """Make the catalogue, or open it where it exists; an interrupted `create` is completed.

        Raises:
            SpecMismatch: it exists and holds clips of another spec.
            CatalogError: the place cannot hold a catalogue.
        """
        uri = _absolute(uri)
        if "://" not in uri and Path(uri).exists() and not Path(uri).is_dir():
            raise CatalogError(f"{uri} is a file; a catalogue needs a folder. Choose another path.")
        catalog = cls(uri, spec, storage_options)
        try:
            for name in (ANCHOR, *SCHEMAS):
                catalog.tables.ensure(name, spec)
        except OSError as error:
            raise CatalogError(f"Cannot write a catalogue at {uri}: {error}.") from error
        found = catalog.tables.spec()
        if found != spec:
            raise SpecMismatch(
                f"The catalogue at {uri} holds clips of {found.spec_id}, not of {spec.spec_id}. "
                "Use that spec, or give another catalogue path."
            )
        return catalog

    @classmethod
    def open(cls, uri: str | Path, storage_options: dict[str, str] | None = None) -> Catalog:
        """Open a catalogue that exists.

        Raises:
            CatalogNotFound: there is none, or only half of one (`CatalogIncomplete`).
        """
        uri = _absolute(uri)
        hint = "Make one with `video2lora ingest SRC --catalog PATH`."
        # connect() would make the folder, so a mistyped path has to be noticed before.
        if "://" not in uri and not Path(uri).is_dir():
            raise CatalogNotFound(f"There is no catalogue at {uri}. {hint}")
        catalog = cls(uri, ClipSpec(), storage_options)
        try:
            catalog.spec = catalog.tables.spec()
        except CatalogIncomplete as error:
            raise CatalogNotFound(f"{uri} is not a catalogue: it has no clips table. {hint}") from error
        for name in SCHEMAS:
            catalog.tables.handle(name)
        return catalog

    # Reading

    def scan(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Expr | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Rows of a table, in no promised order.

        Args:
            table: name of the table.
            columns: which columns; None means all but blobs, which `videos`, `posters` and `strips` read.
            where: an expression of `lancedb.expr`, or one that `catalog.predicates.parse` made.
            limit: at most so many rows.

        Raises:
            UnknownTable, UnknownColumn: a name that is not there.
        """
        dataset = self.tables.reader(table)
        names = self._readable(dataset.schema, table, columns)
        return dataset.to_table(names, filter=self.tables.sql(table, dataset, where), limit=limit)

    def schema(self, table: str) -> pa.Schema:
        """The table's columns as they are now, vectors included."""
        return self.tables.reader(table).schema

    def count(self, table: str, where: Expr | None = None) -> int:
        """How many rows, or how many that match."""
        if where is None:
            return self.tables.reader(table).count_rows()
        return self.scan(table, columns=KEYS[table][:1], where=where).num_rows

    def distinct(self, table: str, column: str) -> list[str]:
        """The different values of a column of words, nulls left out; in order."""
        rows = self.scan(table, [column])
        return sorted(value for value in pc.unique(rows[column]).to_pylist() if value is not None)

    def get(self, table: str, keys: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows whose first key column is one of `keys`; no order kept, unknown keys left out."""
        key = KEYS[table][0]
        keys = list(dict.fromkeys(keys))
        if len(keys) > _KEYS_WORTH_A_SCAN:
            columns = self._readable(self.schema(table), table, columns)
            rows = self.scan(table, list(dict.fromkeys((key, *columns))))
            return rows.filter(pc.is_in(rows[key], pa.array(keys, pa.string()))).select(columns)
        parts = [
            self.scan(table, columns, where=col(key).isin(keys[start : start + _KEYS_PER_QUERY]))
            for start in range(0, len(keys), _KEYS_PER_QUERY)
        ]
        return pa.concat_tables(parts) if parts else self.scan(table, columns, limit=0)

    def videos(self, clip_ids: Sequence[str]) -> dict[str, bytes]:
        """MP4 bytes by clip id, half a megabyte each: ask for a batch. Leaves out unknown ids."""
        return self._blobs("video", clip_ids)

    def posters(self, clip_ids: Sequence[str]) -> dict[str, bytes]:
        """JPEG bytes by clip id; leaves out unknown ids and clips without a poster."""
        return self._blobs("poster", clip_ids)

    def strips(self, clip_ids: Sequence[str]) -> dict[str, bytes]:
        """Effect strips as JPEG bytes by clip id; leaves out unknown ids and clips without one."""
        return self._blobs("strip", clip_ids)

    # Writing

    def upsert(self, table: str, rows: Rows) -> int:
        """Write whole rows by key in one commit: known keys are replaced, new ones added.

        Columns that `rows` lack become null, also in rows that were there; `update` changes single columns.
        Every call is a version and a few small files, so callers gather hundreds of rows.

        Args:
            table: name of the table.
            rows: dicts, or an Arrow table; of rows with the same key the last one counts.

        Returns:
            How many rows were written.

        Raises:
            UnknownColumn, InvalidRows: rows that do not fit; nothing is written.
            ReadOnlyCatalog: this handle is a view of the past.
            WriteConflict: other writers kept winning.
        """
        return self._merge(table, rows, partial=False)

    def update(self, table: str, rows: Rows) -> int:
        """Change the given columns of rows that exist, in one commit; other columns keep their values.

        Returns:
            How many rows were changed; keys that do not exist are not added.

        Raises:
            As `upsert`.
        """
        return self._merge(table, rows, partial=True)

    def add(self, table: str, rows: Rows) -> int:
        """Write whole rows whose keys are new, in one commit; rows that are there stay as they are.

        Of several writers of one key exactly one is told that it was written.

        Returns:
            How many rows were written.

        Raises:
            As `upsert`.
        """
        self.tables.refuse_when_pinned()
        data = storable(rows, SCHEMAS[table], KEYS[table], table, partial=False)

        def insert(target: LanceTable) -> int:
            merge = target.to_lance().merge_insert(list(KEYS[table])).when_not_matched_insert_all()
            return int(merge.execute(data)["num_inserted_rows"])

        return self.tables.commit(table, insert)

    def swap(self, table: str, row: dict[str, Any], column: str, expected: int) -> bool:
        """Compare and swap: change the given columns of one row where a column still holds what was read.

        Of several writers that expect the same exactly one succeeds.

        Args:
            column: of whole numbers; a row that is written gets another one there.

        Returns:
            Whether it was written.

        Raises:
            As `upsert`.
        """
        self.tables.refuse_when_pinned()
        data = storable([row], SCHEMAS[table], KEYS[table], table, partial=True)
        unchanged = f"target.{column} = {int(expected)}"

        def replace(target: LanceTable) -> bool:
            merge = target.to_lance().merge_insert(list(KEYS[table]))
            done = merge.when_matched_update_all(condition=unchanged).execute(data)
            return bool(done["num_updated_rows"])

        return self.tables.commit(table, replace)

    def remove(self, table: str, keys: Sequence[str]) -> None:
        """Delete the rows whose first key column is one of `keys`.

        Raises:
            As `upsert`.
        """
        gone = col(KEYS[table][0]).isin(list(keys))
        self.tables.commit(table, lambda target: target.delete(gone))

    # The past

    def versions(self) -> dict[str, int]:
        """Version of every table, as this handle reads it."""
        return (
            dict(self.pinned) if self.pinned else {name: self.tables.handle(name).version for name in SCHEMAS}
        )

    def snapshot(self) -> Snapshot:
        """Name the present version of every table, and keep those versions from being cleaned up.

        Never half of an act: one that is being carried out is waited for.

        Raises:
            WriteConflict: an act stays half done; the next command completes it.
        """
        if self.pinned is not None:
            return Snapshot(self.versions())
        patient_until = time.monotonic() + _PATIENCE
        while (versions := self._versions_between_acts()) is None:
            if time.monotonic() >= patient_until:
                raise WriteConflict(
                    "An act on this catalogue is not done yet, or was interrupted. "
                    "Run the command again; it completes what was interrupted."
                )
            time.sleep(0.05)
        for name, version in versions.items():
            self.tables.tag(name, version)
        return Snapshot(versions)

    def _versions_between_acts(self) -> dict[str, int] | None:
        """Versions of all tables with no act begun or ended between the first that is read and the last."""
        before = self.tables.handle("events").version
        versions = self.versions()
        if self.tables.handle("events").version != before or versions["events"] != before:
            return None
        # At that version: an act that was half done then may be done by now.
        past = self.at(Snapshot({"events": before}))
        return None if past.count("events", col("state") == EventState.BEGUN) else versions

    def at(self, snapshot: Snapshot) -> Catalog:
        """A view that reads exactly the rows of the snapshot and refuses to write.

        Raises:
            SnapshotMissing: it names other tables, or a version that is gone.
        """
        unknown = snapshot.versions.keys() - SCHEMAS.keys()
        if unknown:
            raise SnapshotMissing(f"The snapshot does not fit this catalogue's tables: {sorted(unknown)}.")
        view = Catalog(self.uri, self.spec, self.storage_options, dict(snapshot.versions))
        for name in snapshot.versions:
            view.tables.handle(name)
        return view

    # Inside

    def __repr__(self) -> str:
        return f"Catalog({self.uri!r}, {self.spec.spec_id}{', read-only' if self.pinned else ''})"

    def _readable(self, schema: pa.Schema, table: str, columns: Sequence[str] | None) -> list[str]:
        names, blobs = schema.names, BLOBS.get(table, ())
        if columns is None:
            return [name for name in names if name not in blobs]
        for name in columns:
            if name not in names:
                raise UnknownColumn(f"Table {table!r} has no column {name!r}{nearest(name, names)}.")
            if name in blobs:
                raise UnknownColumn(
                    f"{table}.{name} is a blob; read it with `videos`, `posters` or `strips`."
                )
        return list(columns)

    def _blobs(self, column: str, clip_ids: Sequence[str]) -> dict[str, bytes]:
        handle = self.tables.handle("media")
        found: dict[str, bytes] = {}
        if column not in handle.schema.names:  # as an older release left it
            return found
        for start in range(0, len(clip_ids), _KEYS_PER_QUERY):
            wanted = list(clip_ids[start : start + _KEYS_PER_QUERY])
            query = handle.search().where(col("clip_id").isin(wanted)).select(["clip_id"])
            rows = query.with_row_id(True).limit(None).to_arrow()
            blobs = handle.fetch_blobs(column, rows)
            pairs = zip(rows["clip_id"].to_pylist(), blobs, strict=True)
            found.update((clip_id, blob.as_py()) for clip_id, blob in pairs if blob.is_valid)
        return found

    def _merge(self, table: str, rows: Rows, *, partial: bool) -> int:
        self.tables.refuse_when_pinned()
        handle = self.tables.handle(table)
        if not len(rows):
            return 0
        blobs = handle.blob_columns()
        schema = pa.schema(
            pa.field(f.name, pa.large_binary() if f.name in blobs else f.type, f.nullable)
            for f in handle.schema
        )
        data = storable(rows, schema, KEYS[table], table, partial=partial)

        def commit(target: LanceTable) -> int:
            merge = target.merge_insert(list(KEYS[table])).when_matched_update_all()
            if not partial:
                merge = merge.when_not_matched_insert_all()
            # A null vector counts as bad; `storable` has refused the ones that are.
            result = merge.execute(data, on_bad_vectors="null")
            return result.num_updated_rows + result.num_inserted_rows

        return self.tables.commit(table, commit)


def _absolute(uri: str | Path) -> str:
    """A path that also other processes, with another working directory, understand."""
    text = str(uri)
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())
