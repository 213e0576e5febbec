"""Decisions about retraining: each is a row that says why, also where nothing was done.

A decision that is `running` belongs to whoever has the lease; its row names the fence number under which it
may be written, so that a former holder can write nothing once the next one goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lancedb.expr import col

from catalog.changes import Change, Kind
from catalog.errors import LeaseLost
from catalog.leases import Lease
from catalog.snapshot import Snapshot
from catalog.store import Catalog
from catalog.vocabulary import Verdict

RETRAIN = "retrain"


@dataclass(frozen=True)
class Decision:
    """A row of `decisions`, its JSON read."""

    decision_id: str
    verdict: str
    triggers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    champion: str | None = None
    challenger: str | None = None
    holdout: str | None = None
    looked: bool = False
    snapshot: Snapshot | None = None
    run_id: str | None = None
    evidence: str | None = None
    actor: str = ""
    fence: int | None = None
    attempts: int = 1
    times: int = 1
    begun_at: datetime | None = None
    decided_at: datetime | None = None

    @property
    def running(self) -> bool:
        return self.verdict == Verdict.RUNNING


def decisions(catalog: Catalog) -> list[Decision]:
    """All of them, the newest first."""
    rows = [_decision(row) for row in catalog.scan("decisions").to_pylist()]
    return sorted(rows, key=lambda each: int(each.decision_id), reverse=True)


def looks_taken(catalog: Catalog, holdout: str, champion: str) -> int:
    """How often a holdout was looked at to replace this champion."""
    where = (col("holdout") == holdout) & (col("champion") == champion) & (col("looked") == True)  # noqa: E712
    return catalog.count("decisions", where)


def note(
    catalog: Catalog, verdict: Verdict, reasons: Sequence[str], actor: str, champion: str | None = None
) -> Decision:
    """Write down that nothing is done, and why; decided alike before, that row counts one more."""
    told = {"verdict": str(verdict), "champion": champion, "actor": actor}
    while True:
        now, last = datetime.now(UTC), next(iter(decisions(catalog)), None)
        if last is not None and all(getattr(last, name) == value for name, value in told.items()):
            row = {"decision_id": last.decision_id, "times": last.times + 1, "decided_at": now}
            if catalog.swap("decisions", row | {"reasons": list(reasons)}, "times", last.times):
                return _read(catalog, last.decision_id)
            continue
        number = str(int(last.decision_id) + 1 if last else 1)
        row = {"decision_id": number, "reasons": list(reasons), "attempts": 0, "times": 1, **told}
        if catalog.add("decisions", [row | {"triggers": [], "begun_at": now, "decided_at": now}]):
            return _read(catalog, number)


def begin(
    lease: Lease, triggers: Sequence[str], reasons: Sequence[str], snapshot: Snapshot, champion: str | None
) -> Decision:
    """Begin one under a lease, as an act.

    Raises:
        LeaseLost: somebody else has the lease.
    """
    while True:
        last = next(iter(decisions(lease.catalog)), None)
        number = str(int(last.decision_id) + 1 if last else 1)
        row = {
            "decision_id": number,
            "verdict": Verdict.RUNNING,
            "triggers": list(map(str, triggers)),
            "reasons": list(reasons),
            "champion": champion,
            "snapshot": snapshot.to_json(),
            "actor": lease.holder,
            "fence": lease.fence,
            "attempts": 1,
            "times": 1,
            "begun_at": datetime.now(UTC),
        }
        if lease.catalog.get("decisions", [number], ["decision_id"]).num_rows:
            continue
        lease.apply(RETRAIN, [Change("decisions", [row], Kind.ADD)], {"decision": number})
        return _read(lease.catalog, number)


def take_up(lease: Lease, decision: Decision) -> Decision:
    """Go on with a decision whose process died: from now on only this lease's holder writes it.

    Raises:
        LeaseLost: somebody else has taken it up.
    """
    row = {"fence": lease.fence, "attempts": decision.attempts + 1, "actor": lease.holder}
    return _amended(lease, decision, row)


def amend(lease: Lease, decision: Decision, **columns: Any) -> Decision:
    """Write further columns of a running decision.

    Raises:
        LeaseLost: somebody else goes on with it.
    """
    return _amended(lease, decision, columns)


def close(
    lease: Lease, decision: Decision, verdict: Verdict, reasons: Sequence[str], **columns: Any
) -> Decision:
    """Say what came of it.

    Raises:
        LeaseLost: somebody else goes on with it.
    """
    told = {"verdict": str(verdict), "reasons": list(reasons), "decided_at": datetime.now(UTC)}
    return _amended(lease, decision, told | columns)


def _amended(lease: Lease, decision: Decision, columns: Mapping[str, Any]) -> Decision:
    row = {"decision_id": decision.decision_id, **columns}
    if not lease.catalog.swap("decisions", row, "fence", decision.fence or 0):
        raise LeaseLost(
            f"Decision {decision.decision_id} is written by another process by now; nothing was written. The "
            "work goes on there."
        )
    return _read(lease.catalog, decision.decision_id)


def _read(catalog: Catalog, decision_id: str) -> Decision:
    return _decision(catalog.get("decisions", [decision_id]).to_pylist()[0])


def _decision(row: Mapping[str, Any]) -> Decision:
    given = {name: value for name, value in row.items() if value is not None}
    for name in ("triggers", "reasons"):
        given[name] = tuple(given.get(name, ()))
    if "figures" in given:
        given["figures"] = json.loads(given["figures"])
    if "snapshot" in given:
        given["snapshot"] = Snapshot.from_json(given["snapshot"])
    return Decision(**given)
