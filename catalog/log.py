"""Which acts changed which rows, as a process that stays has read it: what an act changed stays as it is."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.changes import Recorded
from catalog.events import Event, changes_by_event, history
from catalog.schema import KEYS

if TYPE_CHECKING:
    from catalog.store import Catalog

_ROWS = pa.schema({"key": pa.string(), "event": pa.string()}.items())
# Events whose changes are held at a time.
_BATCH = 100


class Log:
    """The log of acts of one catalogue; several threads may ask.

    `events.touching` reads what every act changed, which takes longer with each; this reads the new ones.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._lock = Lock()
        self._version = 0
        self._events: list[Event] = []
        self._read: set[str] = set()
        self._rows: dict[str, pa.Table] = {}

    def history(self) -> list[Event]:
        """Acts as of now, the newest first."""
        with self._lock:
            return self._history()

    def touching(self, table: str, key: str) -> list[tuple[Event, dict[str, tuple[Any, Any]]]]:
        """As `events.touching`: the acts that changed rows of a table whose first key column is `key`."""
        with self._lock:
            events = self._history()
            new = [event.event_id for event in events if event.event_id not in self._read]
            for start in range(0, len(new), _BATCH):
                self._note(changes_by_event(self.catalog, new[start : start + _BATCH]))
            self._read.update(new)
            rows = self._rows.get(table, _ROWS.empty_table())
        touched = set(rows.filter(pc.equal(rows["key"], key))["event"].to_pylist())
        changes = changes_by_event(self.catalog, list(touched)) if touched else {}
        return [
            (event, differs)
            for event in events
            for change in changes.get(event.event_id, ())
            if change.table == table and (differs := change.differences(key))
        ]

    def _history(self) -> list[Event]:
        version = self.catalog.tables.version("events")
        if version != self._version:
            self._events = history(self.catalog)
            self._version = version
        return self._events

    def _note(self, changes: dict[str, list[Recorded]]) -> None:
        parts: dict[str, list[pa.Table]] = {}
        for event, each in changes.items():
            for change in each:
                keys = change.values[KEYS[change.table][0]].combine_chunks()
                rows = pa.table([keys, pa.repeat(event, len(keys))], schema=_ROWS)
                parts.setdefault(change.table, []).append(rows)
        for table, found in parts.items():
            known = [self._rows[table]] if table in self._rows else []
            self._rows[table] = pa.concat_tables([*known, *found]).combine_chunks()
