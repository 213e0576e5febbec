"""Snapshots by their names.

A snapshot is taken in two steps: its versions are kept from being cleaned up, then its row is written. One
without a row does not exist; what a crash between the two leaves is a version that is kept for nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from lancedb.expr import col

from catalog.curation.naming import checked_name
from catalog.errors import BadName, SnapshotMissing, SpecMismatch
from catalog.hints import nearest
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from catalog.vocabulary import RunStatus

NOW, MODEL = "now", "model:"


@dataclass(frozen=True)
class NamedSnapshot:
    """A snapshot as somebody took it."""

    name: str
    snapshot: Snapshot
    spec_id: str
    author: str
    note: str | None
    created_at: datetime


def take(catalog: Catalog, name: str, author: str, note: str | None = None) -> NamedSnapshot:
    """Name the catalogue as it is now, and keep that from being cleaned up.

    Raises:
        BadName: no name, one that means something else, or one that another snapshot has.
        WriteConflict: an act stays half done.
    """
    name = checked_name(name, "snapshot")
    if name == NOW or name.startswith(MODEL):
        raise BadName(f"{name!r} means something else where snapshots are named; choose another name.")
    taken = f"A snapshot is called {name!r} already, and it stays as it is; choose another name."
    if catalog.get("snapshots", [name], ["name"]).num_rows:
        raise BadName(taken)
    made = NamedSnapshot(
        name, catalog.snapshot(), catalog.spec.spec_id, author, note or None, datetime.now(UTC)
    )
    row = {"name": name, "versions": made.snapshot.to_json(), "spec_id": made.spec_id, "author": author}
    if not catalog.add("snapshots", [row | {"note": made.note, "created_at": made.created_at}]):
        raise BadName(taken)
    return made


def snapshots(catalog: Catalog) -> list[NamedSnapshot]:
    """All of them, the newest first."""
    rows = catalog.scan("snapshots").to_pylist()
    found = [
        NamedSnapshot(
            row["name"],
            Snapshot.from_json(row["versions"]),
            row["spec_id"] or "",
            row["author"] or "",
            row["note"],
            row["created_at"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.created_at, each.name), reverse=True)


def named(catalog: Catalog, name: str) -> Snapshot:
    """The versions that a name means: of a snapshot, `model:ID` what that model was trained on, or `now`.

    Raises:
        SnapshotMissing: nothing is called that.
        SpecMismatch: it is of clips of another geometry.
    """
    if name == NOW:
        return Snapshot(catalog.versions())
    if name.startswith(MODEL):
        return _seen_by(catalog, name.removeprefix(MODEL))
    every = {each.name: each for each in snapshots(catalog)}
    if name not in every:
        known = nearest(name, every) or "; take one with `video2lora snapshot take NAME`"
        raise SnapshotMissing(f"No snapshot is called {name[:80]!r}{known}.")
    found = every[name]
    if found.spec_id != catalog.spec.spec_id:
        raise SpecMismatch(
            f"Snapshot {name!r} is of clips of {found.spec_id}, and this catalogue holds clips of "
            f"{catalog.spec.spec_id}. Open the catalogue that it was taken of."
        )
    return found.snapshot


def resolve(catalog: Catalog, name: str) -> Catalog:
    """The view that a name means, see `named`; it cannot be written to."""
    return catalog.at(named(catalog, name))


def remove(catalog: Catalog, name: str) -> None:
    """Forget a snapshot; versions that neither another one nor a model nor a run names may be cleaned up.

    Raises:
        SnapshotMissing: nothing is called that.
    """
    if name == NOW or name.startswith(MODEL):
        raise SnapshotMissing(f"{name[:80]!r} is no snapshot that can be forgotten; see `snapshot list`.")
    named_by_it = named(catalog, name)
    catalog.tables.commit("snapshots", lambda table: table.delete(col("name") == name))
    kept = [each.snapshot for each in snapshots(catalog)]
    for table in ("models", "runs", "holdouts", "decisions"):
        columns = ["snapshot", "status"] if table == "runs" else ["snapshot"]
        for row in catalog.scan(table, columns).to_pylist():
            if row["snapshot"] and row.get("status") in (None, RunStatus.RUNNING):
                kept.append(Snapshot(json.loads(row["snapshot"])))
    for table, version in named_by_it.versions.items():
        if not any(each.versions.get(table) == version for each in kept):
            catalog.tables.untag(table, version)


def _seen_by(catalog: Catalog, model_id: str) -> Snapshot:
    rows = {row["model_id"]: row for row in catalog.scan("models", ["model_id", "snapshot"]).to_pylist()}
    if model_id not in rows:
        known = nearest(model_id, rows) or "; train one with `video2lora train`"
        raise SnapshotMissing(f"No model is called {model_id[:80]!r}{known}.")
    return Snapshot.from_json(rows[model_id]["snapshot"])
