"""The log of acts: who did what and when, what it changed, what took it back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from catalog.changes import Recorded
from catalog.errors import UnknownEvent
from catalog.vocabulary import EventState

if TYPE_CHECKING:
    from catalog.store import Catalog

UNDO = "undo"
_SUMMARY = ["event_id", "act", "actor", "at", "state", "payload", "changed"]


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


def history(catalog: Catalog, limit: int | None = None) -> list[Event]:
    """Acts, the newest first."""
    rows = catalog.scan("events", _SUMMARY).to_pylist()
    undone = _undone_by(rows)
    rows.sort(key=lambda row: (row["at"], number_of(row["event_id"])), reverse=True)
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


def last_event(catalog: Catalog) -> str:
    """Number of the newest act, "0" before the first: what an author has seen who looks now."""
    rows = catalog.scan("events", ["event_id"])["event_id"].to_pylist()
    return str(max(map(number_of, rows), default=0))


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


def changes_by_event(catalog: Catalog, events: Sequence[str]) -> dict[str, list[Recorded]]:
    """What each of some events changed."""
    rows = catalog.get("events", events, ["event_id", "changes"]).to_pylist()
    return {row["event_id"]: [Recorded.from_bytes(data) for data in row["changes"] or ()] for row in rows}


def touching(catalog: Catalog, table: str, key: str) -> list[tuple[Event, dict[str, tuple[Any, Any]]]]:
    """The acts that changed rows of a table whose first key column is `key`, the newest first.

    Returns:
        Each with the columns that it changed there, as (before, after).
    """
    events = {event.event_id: event for event in history(catalog) if table in event.changed}
    if not events:
        return []
    changes = changes_by_event(catalog, list(events))
    return [
        (event, differs)
        for number, event in events.items()
        for change in changes[number]
        if change.table == table and (differs := change.differences(key))
    ]


def changed_meanwhile(
    catalog: Catalog, changes: Sequence[Recorded], as_of: str
) -> tuple[Event, str, list[tuple]] | None:
    """The first act since event `as_of` that left rows otherwise than they were then, whoever acted.

    One person may have several pages open, and several people may share a name: whose act it was says nothing
    about what the page had shown.

    Args:
        changes: what is about to be written; its values before are those of now.

    Returns:
        The event, the table, and the keys of the rows; None where all is as it was.
    """
    now = {
        (change.table, key): row
        for change in changes
        for key, row in zip(change.keys, change.before().to_pylist(), strict=True)
    }
    since = [e for e in history(catalog) if number_of(e.event_id) > number_of(as_of)]
    told: dict[tuple, tuple[Event, Any]] = {}
    for event in reversed(since):
        for change in changes_of(catalog, event.event_id):
            for key, row in zip(change.keys, change.before().to_pylist(), strict=True):
                for name in row.keys() & now.get((change.table, key), {}).keys():
                    told.setdefault((change.table, key, name), (event, row[name]))
    stale = [(event, at) for at, (event, value) in told.items() if now[at[:2]][at[2]] != value]
    if not stale:
        return None
    first, (table, _, _) = stale[0]
    return first, table, list(dict.fromkeys(key for _, (name, key, _) in stale if name == table))


def number_of(event_id: str) -> int:
    """The number that an event is called by; 0 for a text that is none."""
    return int(event_id) if event_id.isascii() and event_id.isdigit() else 0


def _undone_by(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The standing event that took each event back: an undoing stands unless it is undone itself."""
    undoings = {
        r["event_id"]: json.loads(r["payload"] or "{}").get("event") for r in rows if r["act"] == UNDO
    }

    def stands(event: str) -> bool:
        return not any(undone == event and stands(by) for by, undone in undoings.items())

    return {undone: by for by, undone in undoings.items() if undone and stands(by)}
