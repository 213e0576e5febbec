"""Acts: changes to any rows of any tables that are written whole or not at all, signed, and taken back.

The events are a log. An act first writes down what it will do, with the values before, as event number n + 1;
the key lets one of several writers have that number, and only once event n is done. Then it changes the
tables, one commit each, and marks the event as done. Whoever finds an event that was left begun completes it:
its process may have crashed, or may be slow, and to write the same values twice does no harm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from lancedb.expr import col

from catalog.changes import Change, Kind, Recorded, recorded
from catalog.errors import ChangedMeanwhile, UnknownEvent
from catalog.rows import storable
from catalog.schema import KEYS, SCHEMAS
from catalog.vocabulary import EventState

if TYPE_CHECKING:
    from lancedb.table import LanceTable

    from catalog.store import Catalog

UNDO = "undo"
# Seconds that a begun act is left to its own process before another one completes it.
_PATIENCE = 3.0
_SUMMARY = ["event_id", "act", "actor", "at", "state", "payload", "changed"]


@dataclass(frozen=True)
class Applied:
    """What an act did: `event` is what `undo` takes, None where nothing changed; `changed` rows by table."""

    event: str | None
    changed: Mapping[str, int]


@dataclass(frozen=True)
class Event:
    """An act as history tells it.

    Attributes:
        payload: what the act was asked for, in its own words.
        changed: rows by table.
        undone_by: the event that took it back, where that one stands.
    """

    event_id: str
    act: str
    actor: str
    at: datetime
    state: EventState
    payload: dict[str, Any]
    changed: dict[str, int]
    undone_by: str | None


def apply(
    catalog: Catalog,
    act: str,
    changes: Sequence[Change],
    *,
    actor: str,
    payload: Mapping[str, Any] | None = None,
) -> Applied:
    """Carry out an act whole; a crash leaves it whole (the next act completes it) or leaves nothing of it.

    Where a table has the column `updated_at`, changed rows get the moment of the act.

    Args:
        act: what is done, in one word.
        changes: by table, no row in two of them; rows that are as wished already are left out.
        actor: who does it.
        payload: what was asked for; kept with the event.

    Raises:
        UnknownTable, UnknownColumn, InvalidRows: a change that does not fit.
        ChangedMeanwhile: rows are not as the author saw them. In all cases nothing is changed.
    """
    catalog.tables.refuse_when_pinned()
    while True:
        number = settle(catalog) + 1
        found = [recorded(catalog, change) for change in changes if change.rows]
        kept = [change for change in found if change.values.num_rows]
        if not kept:
            return Applied(None, {})
        changed: dict[str, int] = {}
        for change in kept:
            changed[change.table] = changed.get(change.table, 0) + change.values.num_rows
        row = {
            "event_id": str(number),
            "act": act,
            "actor": actor,
            "at": datetime.now(UTC),
            "state": EventState.BEGUN,
            "payload": dict(payload or {}),
            "changed": changed,
            "changes": [change.to_bytes() for change in kept],
        }
        # Lost to another act: what this one found may not hold any more.
        if _append(catalog, row):
            _carry_out(catalog, str(number))
            return Applied(str(number), changed)


def undo(catalog: Catalog, event: str, *, actor: str) -> Applied:
    """Take an act back whole; the undoing is an act too, and can be undone.

    Raises:
        UnknownEvent: there is no such event.
        ChangedMeanwhile: some of its rows were changed since, and by which act.
    """
    settle(catalog)
    changes = [change.inverse() for change in reversed(changes_of(catalog, event))]
    try:
        return apply(catalog, UNDO, changes, actor=actor, payload={"event": event})
    except ChangedMeanwhile as error:
        later = _changed_since(catalog, event, error.table, error.keys)
        by = f" by event {later.event_id} ({later.act}, {later.actor}); undo that first" if later else ""
        raise ChangedMeanwhile(
            f"Event {event} cannot be taken back: {len(error.keys)} of its rows in {error.table!r} "
            f"were changed since{by}.",
            error.table,
            error.keys,
        ) from error


def history(catalog: Catalog, limit: int | None = None) -> list[Event]:
    """Acts, the newest first."""
    rows = catalog.scan("events", _SUMMARY).to_pylist()
    undone = _undone_by(rows)
    rows.sort(key=lambda row: (row["at"], _number(row["event_id"])), reverse=True)
    return [
        Event(
            row["event_id"],
            row["act"],
            row["actor"] or "",
            row["at"],
            EventState(row["state"] or EventState.DONE),
            json.loads(row["payload"] or "{}"),
            json.loads(row["changed"] or "{}"),
            undone.get(row["event_id"]),
        )
        for row in rows[:limit]
    ]


def changes_of(catalog: Catalog, event: str) -> list[Recorded]:
    """What an event changed, with the values before and after.

    Raises:
        UnknownEvent: there is no such event.
    """
    rows = catalog.get("events", [event], ["changes"]).to_pylist()
    if not rows or rows[0]["changes"] is None:
        newest = history(catalog, limit=1)
        known = f"the newest is {newest[0].event_id} ({newest[0].act})" if newest else "nothing was done yet"
        raise UnknownEvent(f"There is no event {event[:80]!r}; {known}.")
    return [Recorded.from_bytes(data) for data in rows[0]["changes"]]


def settle(catalog: Catalog) -> int:
    """Complete an act that a crash interrupted; returns the number of the last event, 0 before the first."""
    patient_until = time.monotonic() + _PATIENCE
    while True:
        rows = catalog.scan("events", ["event_id", "state"]).to_pylist()
        last = max(rows, key=lambda row: _number(row["event_id"]), default=None)
        if last is None or last["state"] != EventState.BEGUN:
            return _number(last["event_id"]) if last else 0
        if time.monotonic() >= patient_until:
            _carry_out(catalog, last["event_id"])
        else:
            time.sleep(0.05)


def _append(catalog: Catalog, row: dict) -> bool:
    """Write an event under its number; False where another act has that number."""
    data = storable([row], SCHEMAS["events"], KEYS["events"], "events", partial=False)

    def insert(table: LanceTable) -> bool:
        merge = table.to_lance().merge_insert(list(KEYS["events"])).when_not_matched_insert_all()
        return merge.execute(data)["num_inserted_rows"] == 1

    return catalog.tables.commit("events", insert)


def _carry_out(catalog: Catalog, event: str) -> None:
    row = catalog.get("events", [event], ["at", "changes"]).to_pylist()[0]
    for data in row["changes"]:
        _write(catalog, event, Recorded.from_bytes(data), row["at"])
    catalog.update("events", [{"event_id": event, "state": EventState.DONE}])


def _write(catalog: Catalog, event: str, change: Recorded, at: datetime) -> None:
    keys = KEYS[change.table]
    data = change.after()
    if "updated_at" in SCHEMAS[change.table].names and "updated_at" not in change.columns:
        stamp = pa.array([at] * data.num_rows, SCHEMAS[change.table].field("updated_at").type)
        data = data.append_column("updated_at", stamp)

    def commit(table: LanceTable) -> None:
        dataset = table.to_lance()
        # Asked after the version was read, and not tried again by Lance: once the event is done later acts
        # may have changed these rows, and then this version is too old to be committed to.
        state = catalog.get("events", [event], ["state"])["state"].to_pylist()[0]
        if state == EventState.DONE:
            return
        if change.kind is Kind.REMOVE:
            # One by one: an act removes few rows, and a key may have two columns.
            for key in change.keys:
                table.delete(reduce(and_, (col(name) == part for name, part in zip(keys, key, strict=True))))
            return
        merge = dataset.merge_insert(list(keys)).when_matched_update_all().conflict_retries(0)
        if change.kind is Kind.ADD:
            merge = merge.when_not_matched_insert_all()
        merge.execute(data)

    catalog.tables.commit(change.table, commit)


def _undone_by(rows: Sequence[dict]) -> dict[str, str]:
    """The standing event that took each event back: an undoing stands unless it is undone itself."""
    undoings = {
        r["event_id"]: json.loads(r["payload"] or "{}").get("event") for r in rows if r["act"] == UNDO
    }

    def stands(event: str) -> bool:
        return not any(undone == event and stands(by) for by, undone in undoings.items())

    return {undone: by for by, undone in undoings.items() if undone and stands(by)}


def _changed_since(catalog: Catalog, event: str, table: str, keys: Sequence[tuple]) -> Event | None:
    wanted = set(keys)
    for later in history(catalog):
        if _number(later.event_id) <= _number(event):
            return None
        for change in changes_of(catalog, later.event_id) if table in later.changed else ():
            if change.table == table and wanted.intersection(change.keys):
                return later
    return None


def _number(event_id: str) -> int:
    return int(event_id) if event_id.isascii() and event_id.isdigit() else 0
