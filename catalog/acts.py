"""Acts: changes to any rows of any tables that are written whole or not at all, signed, and taken back.

The events are a log. An act first writes down what it will do, with the values before, as event number n + 1;
the key lets one of several writers have that number, and only once event n is done. Then it changes the
tables, one commit each, and marks the event as done. Whoever finds an event that was left begun completes it:
its process may have crashed, or may be slow, and to write the same values twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from lancedb.expr import col

from catalog.changes import Change, Kind, Recorded, named, recorded
from catalog.errors import ChangedMeanwhile
from catalog.events import UNDO, Event, changed_meanwhile, changes_of, history, number_of
from catalog.schema import KEYS, SCHEMAS
from catalog.vocabulary import EventState

if TYPE_CHECKING:
    from lancedb.table import LanceTable

    from catalog.store import Catalog

# Seconds that a begun act is left to its own process before another one completes it.
_PATIENCE = 3.0


@dataclass(frozen=True)
class Applied:
    """What an act did: `event` is what `undo` takes, None where nothing changed or it was only tried;
    `changed` rows by table; `left_out` how many that matched were not meant."""

    event: str | None
    changed: Mapping[str, int]
    left_out: int = 0


def apply(
    catalog: Catalog,
    act: str,
    changes: Sequence[Change],
    *,
    actor: str,
    payload: Mapping[str, Any] | None = None,
    as_of: str | None = None,
    dry_run: bool = False,
) -> Applied:
    """Carry out an act whole; a crash leaves it whole (the next act completes it) or leaves nothing of it.

    Where a table has the column `updated_at`, changed rows get the moment of the act.

    Args:
        act: what is done, in one word.
        changes: by table, no row in two of them; rows that are as wished already are left out.
        actor: who does it.
        payload: what was asked for; kept with the event.
        as_of: the last event that its author had seen (`events.last_event`); what any act has changed of
            these rows since is refused, his own from another page too.
        dry_run: find out what would change, and write nothing.

    Raises:
        UnknownTable, UnknownColumn, InvalidRows: a change that does not fit.
        ChangedMeanwhile: rows are not as the author saw them. In all cases nothing is changed.
    """
    catalog.tables.refuse_when_pinned()
    while True:
        number = settle(catalog) + 1
        found = [recorded(catalog, change) for change in changes if change.rows]
        kept = [change for change in found if change.values.num_rows]
        changed: dict[str, int] = {}
        for change in kept:
            changed[change.table] = changed.get(change.table, 0) + change.values.num_rows
        if as_of is not None:
            _require_unchanged(catalog, kept, as_of)
        if dry_run or not kept:
            return Applied(None, changed)
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
        if catalog.add("events", [row]):
            _carry_out(catalog, str(number))
            return Applied(str(number), changed)


def undo(catalog: Catalog, event: str, *, actor: str, dry_run: bool = False) -> Applied:
    """Take an act back whole; the undoing is an act too, and can be undone.

    Raises:
        UnknownEvent: there is no such event.
        ChangedMeanwhile: some of its rows were changed since, and by which act.
    """
    settle(catalog)
    changes = [change.inverse() for change in reversed(changes_of(catalog, event))]
    try:
        return apply(catalog, UNDO, changes, actor=actor, payload={"event": event}, dry_run=dry_run)
    except ChangedMeanwhile as error:
        later = _changed_since(catalog, event, error.table, error.keys)
        by = f" by event {later.event_id} ({later.act}, {later.actor}); undo that first" if later else ""
        raise ChangedMeanwhile(
            f"Event {event} cannot be taken back: {len(error.keys)} of its rows in {error.table!r} "
            f"were changed since{by}.",
            error.table,
            error.keys,
        ) from error


def settle(catalog: Catalog) -> int:
    """Complete an act that a crash interrupted; returns the number of the last event, 0 before the first."""
    patient_until = time.monotonic() + _PATIENCE
    while True:
        rows = catalog.scan("events", ["event_id", "state"]).to_pylist()
        last = max(rows, key=lambda row: number_of(row["event_id"]), default=None)
        if last is None or last["state"] != EventState.BEGUN:
            return number_of(last["event_id"]) if last else 0
        if time.monotonic() >= patient_until:
            _carry_out(catalog, last["event_id"])
        else:
            time.sleep(0.05)


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


def _require_unchanged(catalog: Catalog, changes: Sequence[Recorded], as_of: str) -> None:
    found = changed_meanwhile(catalog, changes, as_of)
    if found:
        event, table, keys = found
        rows = "1 row was" if len(keys) == 1 else f"{len(keys)} rows were"
        raise ChangedMeanwhile(
            f"{rows} changed meanwhile by event {event.event_id} ({event.act}, {event.actor}), and nothing "
            f"was overwritten: {named(keys)} of {table!r}. Look at them again, then decide anew.",
            table,
            keys,
        )


def _changed_since(catalog: Catalog, event: str, table: str, keys: Sequence[tuple]) -> Event | None:
    wanted = set(keys)
    for later in history(catalog):
        if number_of(later.event_id) <= number_of(event):
            return None
        for change in changes_of(catalog, later.event_id) if table in later.changed else ():
            if change.table == table and wanted.intersection(change.keys):
                return later
    return None
