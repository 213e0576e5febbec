"""Leases: of several processes, on whatever machines, one does a piece of work, and a dead one is succeeded.

A lease is a row that only a compare-and-swap on its fence number changes: each holder has a higher one than
the one before, and renews it. Clocks are not trusted: a lease that looks expired is watched, and is taken
over only when its holder has not renewed it for half its length of this process's own time. Taking over is
an act, and so is what a holder commits, which names its fence. The log lets one act have each number:
whatever a former holder began before it was succeeded is done before, or is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from catalog import acts
from catalog.acts import Applied
from catalog.changes import Change
from catalog.errors import CatalogError, ChangedMeanwhile, LeaseHeld, LeaseLost

if TYPE_CHECKING:
    from catalog.store import Catalog

SECONDS = 60.0
# Renewed so often in its length; watched for this share of it before it is taken over.
_RENEWALS, _WATCHED = 4, 0.5
# Seconds that clocks may differ by before anybody is told.
_CLOCKS_DIFFER = 5.0
TAKE_OVER = "take over"


@dataclass(frozen=True)
class LeaseRow:
    """A lease as the table has it; `holder` None: nobody's. `renewed_at` is by the holder's clock."""

    name: str
    holder: str | None
    fence: int
    beat: int
    seconds: float
    work: str | None
    renewed_at: datetime

    @property
    def expires_at(self) -> datetime:
        """When it lapses, where nobody renews it."""
        return self.renewed_at + timedelta(seconds=self.seconds)

    def is_fresh(self, now: datetime) -> bool:
        """Whether it is held, by a clock that is right."""
        return self.holder is not None and self.renewed_at <= now + _TOLERANCE and now < self.expires_at


_TOLERANCE = timedelta(seconds=_CLOCKS_DIFFER)


class Lease:
    """A lease that this process holds, or has held.

    Attributes:
        name, holder, fence: of the lease.
        said: what a person should know of how it was had: a clock that is off, a holder that died.
    """

    def __init__(
        self,
        catalog: Catalog,
        row: LeaseRow,
        said: Sequence[str] = (),
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.catalog, self.said = catalog, tuple(said)
        self.name, self.holder, self.fence = row.name, row.holder or "", row.fence
        self._row = row
        self._clock = clock or _now

    def renew(self) -> None:
        """Hold it for its whole length from now on.

        Raises:
            LeaseLost: somebody else has it.
        """
        row = self._row
        told: dict[str, Any] = {"name": row.name, "beat": row.beat + 1, "renewed_at": self._clock()}
        if not self.catalog.swap("leases", told, "fence", self.fence):
            raise self._lost()
        self._row = replace(row, beat=row.beat + 1, renewed_at=told["renewed_at"])

    def require(self) -> None:
        """Refuse to go on where somebody else has it.

        Raises:
            LeaseLost: see above.
        """
        found = read(self.catalog, self.name)
        if found is None or (found.holder, found.fence) != (self.holder, self.fence):
            raise self._lost()

    def apply(self, act: str, changes: Sequence[Change], payload: Mapping[str, Any] | None = None) -> Applied:
        """An act in the holder's name, see `acts.apply`: done while the lease is held, or not at all.

        Raises:
            LeaseLost: somebody else has it; nothing is changed.
        """
        mine = {"name": self.name} | self._mine()
        fence = Change("leases", [{"name": self.name, "fence": self.fence}], seen=[mine])
        payload = dict(payload or {}) | {"lease": self.name, "fence": self.fence}
        try:
            return acts.apply(self.catalog, act, [fence, *changes], actor=self.holder, payload=payload)
        except ChangedMeanwhile as error:
            if error.table == "leases":
                raise self._lost() from error
            raise

    def release(self) -> None:
        """Let the next one have it at once; no harm where it was lost."""
        self.catalog.swap("leases", {"name": self.name, "holder": None}, "fence", self.fence)

    @contextmanager
    def kept(self, lost: Callable[[], None] = lambda: None) -> Iterator[Lease]:
        """Renew it beside the body, and release it after it.

        Args:
            lost: called from another thread when somebody else has it, so that the body can be stopped.
        """
        over = Event()
        renewing = Thread(target=self._renewing, args=(over, lost), name=f"lease {self.name}", daemon=True)
        renewing.start()
        try:
            yield self
        finally:
            over.set()
            renewing.join()
            self.release()

    def _renewing(self, over: Event, lost: Callable[[], None]) -> None:
        while not over.wait(self._row.seconds / _RENEWALS):
            # A store that does not answer may do so the next time; others watch before they take over.
            with suppress(OSError, RuntimeError, CatalogError):
                try:
                    self.renew()
                except LeaseLost:
                    lost()
                    return

    def _mine(self) -> dict[str, Any]:
        return {"holder": self.holder, "fence": self.fence}

    def _lost(self) -> LeaseLost:
        found = read(self.catalog, self.name)
        now = f"{found.holder or 'nobody'} (fence {found.fence})" if found else "nobody"
        return LeaseLost(
            f"{self.holder} held the lease {self.name!r} with fence {self.fence}, and {now} has it now: "
            "nothing was written. The work goes on there."
        )


def take(
    catalog: Catalog,
    name: str,
    holder: str,
    work: str = "",
    seconds: float = SECONDS,
    clock: Callable[[], datetime] | None = None,
) -> Lease:
    """Have the lease, or say who has it.

    One that looks expired is first watched for half its length, whatever clocks say.

    Args:
        name: of the work; any number of leases may be.
        holder: who wants it: host and process, say.
        work: what it will do, for whoever is refused.
        seconds: that it lasts without being renewed.
        clock: the time of this machine.

    Raises:
        LeaseHeld: somebody else has it.
    """
    clock = clock or _now
    fresh: dict[str, Any] = {"name": name, "holder": holder, "seconds": seconds, "work": work}
    made = fresh | {"fence": 1, "beat": 0, "renewed_at": clock()}
    if (row := read(catalog, name)) is None and catalog.add("leases", [made]):
        return Lease(catalog, LeaseRow(**made), clock=clock)
    if row is None and (row := read(catalog, name)) is None:
        raise LeaseHeld(f"The lease {name!r} comes and goes; try again.")
    said = _said_of_clocks(row, clock())
    if row.is_fresh(clock()):
        raise LeaseHeld(" ".join([_held(row, clock()), *said]))
    if row.holder is not None and (changed := _changed_while_watched(catalog, row)):
        raise LeaseHeld(
            " ".join([_held(changed, clock()), *_said_of_clocks(changed, clock(), just_now=True)])
        )
    made = fresh | {"fence": row.fence + 1, "beat": row.beat + 1, "renewed_at": clock()}
    if row.holder is None:
        won = catalog.swap("leases", made, "fence", row.fence)
    else:
        said.append(
            f"{row.holder} held the lease {name!r}, renewed it last at {_told(row.renewed_at)} and died; "
            f"{holder} has taken over."
        )
        won = _succeed(catalog, made, row)
    if not won:
        raise LeaseHeld(_held(read(catalog, name) or row, clock()))
    return Lease(catalog, LeaseRow(**made), said, clock)


def read(catalog: Catalog, name: str) -> LeaseRow | None:
    """The lease as it is; None where nobody ever had it."""
    rows = catalog.get("leases", [name]).to_pylist()
    return LeaseRow(**rows[0]) if rows else None


def leases(catalog: Catalog) -> list[LeaseRow]:
    """All that there are, by name."""
    rows = (LeaseRow(**row) for row in catalog.scan("leases").to_pylist())
    return sorted(rows, key=lambda each: each.name)


def _succeed(catalog: Catalog, made: dict[str, Any], before: LeaseRow) -> bool:
    """Take over from a holder that died, as an act: whatever it began to commit is before it, or refused."""
    seen = {"name": before.name, "fence": before.fence, "beat": before.beat}
    change = Change("leases", [made], seen=[seen])
    payload = {"lease": made["name"], "fence": made["fence"], "from": before.holder}
    try:
        acts.apply(catalog, TAKE_OVER, [change], actor=made["holder"], payload=payload)
    except ChangedMeanwhile:
        return False
    return True


def _changed_while_watched(catalog: Catalog, row: LeaseRow) -> LeaseRow | None:
    """The lease as somebody renews it or has it while it is watched; None where nobody does."""
    over = time.monotonic() + row.seconds * _WATCHED
    while True:
        now = read(catalog, row.name)
        if now is None or (now.fence, now.beat) != (row.fence, row.beat):
            return now or row
        if (left := over - time.monotonic()) <= 0:
            return None
        time.sleep(min(left, row.seconds / 20))


def _said_of_clocks(row: LeaseRow, now: datetime, just_now: bool = False) -> list[str]:
    """A sentence where a holder's clock cannot agree with this one; `just_now` it was seen to renew."""
    ahead = (row.renewed_at - now).total_seconds()
    off = max(ahead, -ahead if just_now else 0.0) > _CLOCKS_DIFFER
    if row.holder is None or not off:
        return []
    return [
        f"A clock is off: {row.holder} renewed it at {_told(row.renewed_at)} by its own, and here it is "
        f"{_told(now)}, {abs(ahead):.0f} s {'earlier' if ahead > 0 else 'later'}. Set both by NTP; leases "
        "stay safe, for no clock decides who has one."
    ]


def _held(row: LeaseRow, now: datetime) -> str:
    doing = f" ({row.work})" if row.work else ""
    since = max(0.0, (now - row.renewed_at).total_seconds())
    return (
        f"The lease {row.name!r} is held by {row.holder or 'somebody else'}{doing}, renewed {since:.0f} s "
        "ago; wait for it to end. If it died, the lease lapses by itself."
    )


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _now() -> datetime:
    return datetime.now(UTC)
