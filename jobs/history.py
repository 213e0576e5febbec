"""`video2lora history`: the log of acts as a table and as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from catalog.curation.selection import whole_ids
from catalog.events import Event, history, touching
from jobs.acting import counted
from jobs.console import print_table
from jobs.workspace import Workspace

_SHOWN = ("event", "at", "by", "act", "changed", "asked", "undone by")


def history_job(workspace: Workspace, clip: str | None, limit: int, as_json: bool) -> None:
    """Print the newest acts; of one clip, what each changed of it."""
    catalog = workspace.existing_catalog()
    if clip is not None:
        [key] = whole_ids(catalog, [clip])
        found = touching(catalog, "clips", key)[:limit]
        rows = [asdict(event) | {"differences": differs} for event, differs in found]
        changed = ["; ".join(_changes(differs)) for _, differs in found]
        events = [event for event, _ in found]
    else:
        events = history(catalog, limit)
        rows = [asdict(event) for event in events]
        changed = [counted(event.changed) for event in events]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    cells = [_cells(event, what) for event, what in zip(events, changed, strict=True)]
    print_table(_SHOWN, cells, f"{len(events)} acts" if events else "Nothing was done yet.")


def _cells(event: Event, changed: str) -> Sequence[Any]:
    asked = ", ".join(f"{key}={value}" for key, value in event.payload.items() if value not in (None, [], {}))
    at = event.at.astimezone().strftime("%Y-%m-%d %H:%M")
    return event.event_id, at, event.actor, event.act, changed, asked, event.undone_by


def _changes(differs: dict[str, tuple[Any, Any]]) -> Iterable[str]:
    return (f"{name}: {before} → {after}" for name, (before, after) in differs.items() if before != after)
