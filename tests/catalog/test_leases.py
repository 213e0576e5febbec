"""Leases: one winner, a dead holder is succeeded, and what it still wants to write is refused."""

import multiprocessing
import time
from datetime import UTC, datetime, timedelta

import pytest

from catalog import acts
from catalog.changes import Change, Kind
from catalog.errors import LeaseHeld, LeaseLost
from catalog.events import history
from catalog.leases import leases, read, take
from catalog.store import Catalog

SPAWN = multiprocessing.get_context("spawn")
# Seconds; what looks expired is watched for half of it.
SHORT = 0.4
LONG_AGO = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def note(text: str) -> Change:
    return Change("snapshots", [{"name": text, "note": text}], Kind.ADD)


def notes(catalog: Catalog) -> set[str]:
    return set(catalog.scan("snapshots", ["name"])["name"].to_pylist())


def dead(catalog: Catalog, name: str = "retrain"):
    """A lease whose holder was killed an hour ago."""
    return take(catalog, name, "the dead", seconds=SHORT, clock=lambda: now() - LONG_AGO)


def test_a_lease_is_had_once_then_by_the_next_after_its_release(catalog):
    mine = take(catalog, "retrain", "one", work="trains")
    with pytest.raises(LeaseHeld, match=r"'retrain' is held by one \(trains\), renewed 0 s ago"):
        take(catalog, "retrain", "two")
    take(catalog, "another", "two")
    mine.renew()
    mine.release()
    assert take(catalog, "retrain", "two").fence == mine.fence + 1
    assert [(row.name, row.holder) for row in leases(catalog)] == [("another", "two"), ("retrain", "two")]


def try_to_take(uri: str, name: str, number: int, begin: float) -> str | None:
    time.sleep(max(0.0, begin - time.time()))
    try:
        return take(Catalog.open(uri), name, f"process-{number}", seconds=30).holder
    except LeaseHeld:
        return None


def test_of_three_processes_that_take_a_lease_at_once_one_has_it(catalog):
    take(catalog, "released", "somebody").release()
    dead(catalog, "held by the dead")
    with SPAWN.Pool(3) as pool:
        for name in ("never held", "released", "held by the dead"):
            begin = time.time() + 1
            won = pool.starmap(try_to_take, [(catalog.uri, name, n, begin) for n in range(3)], 1)
            [winner] = [each for each in won if each]
            assert read(catalog, name).holder == winner


def test_a_dead_holders_lease_is_taken_over_and_told(catalog):
    first = dead(catalog)
    second = take(catalog, "retrain", "the living", seconds=SHORT)
    assert second.fence == first.fence + 1
    assert "the dead held the lease 'retrain', renewed it last at" in second.said[0]
    assert history(catalog)[0].act == "take over"
    with pytest.raises(
        LeaseLost, match=r"the dead held .* with fence 1, and the living \(fence 2\) has it now"
    ):
        first.renew()
    with pytest.raises(LeaseLost):
        first.require()
    first.release()
    assert read(catalog, "retrain").holder == "the living"


def test_a_holder_that_was_succeeded_can_commit_nothing(catalog):
    first = dead(catalog)
    first.apply("note", [note("while it lived")])
    second = take(catalog, "retrain", "the living", seconds=SHORT)
    with pytest.raises(LeaseLost, match="nothing was written"):
        first.apply("note", [note("too late")])
    second.apply("note", [note("of the next")])
    assert notes(catalog) == {"while it lived", "of the next"}
    assert history(catalog)[0].payload == {"lease": "retrain", "fence": 2}


def test_a_holder_that_is_succeeded_between_its_look_and_its_write_can_commit_nothing(catalog, monkeypatch):
    first = dead(catalog)
    add, successors = Catalog.add, []

    def slow(self, table, rows):
        if table == "events" and not successors:
            successors.append(None)  # the taking over is an act too
            successors[0] = take(catalog, "retrain", "the living", seconds=SHORT)
        return add(self, table, rows)

    monkeypatch.setattr(Catalog, "add", slow)
    with pytest.raises(LeaseLost):
        first.apply("note", [note("too late")])
    assert successors[0].fence == 2
    assert notes(catalog) == set()


def test_a_kept_lease_outlasts_its_length_and_is_released_in_the_end(catalog):
    with take(catalog, "retrain", "one", seconds=SHORT).kept():
        time.sleep(2 * SHORT)
        with pytest.raises(LeaseHeld):
            take(catalog, "retrain", "two", seconds=SHORT)
    assert take(catalog, "retrain", "two").said == ()


def test_who_keeps_a_lease_is_called_when_it_is_lost(catalog):
    calls = []
    lease = take(catalog, "retrain", "one", seconds=SHORT)
    with lease.kept(lambda: calls.append("lost")):
        acts.apply(
            catalog,
            "take over",
            [Change("leases", [{"name": "retrain", "holder": "two", "fence": 2}])],
            actor="two",
        )
        over = time.monotonic() + 20
        while not calls and time.monotonic() < over:
            time.sleep(0.02)
    assert calls == ["lost"]
    assert read(catalog, "retrain").holder == "two"


@pytest.mark.parametrize(("off", "word"), [(LONG_AGO, "earlier"), (-LONG_AGO, "later")])
def test_a_living_holder_keeps_its_lease_whatever_its_clock_says_and_the_clock_is_told(catalog, off, word):
    with (
        take(catalog, "retrain", "one", seconds=SHORT, clock=lambda: now() + off).kept(),
        pytest.raises(
            LeaseHeld, match=rf"A clock is off: one renewed it at .* 3\d\d\d s {word}\. Set both by NTP"
        ),
    ):
        take(catalog, "retrain", "two", seconds=SHORT)


def test_a_dead_holder_whose_clock_was_ahead_is_succeeded_all_the_same(catalog):
    take(catalog, "retrain", "one", seconds=SHORT, clock=lambda: now() + LONG_AGO)
    second = take(catalog, "retrain", "two", seconds=SHORT)
    assert second.fence == 2
    assert "A clock is off" in second.said[0]
    assert "one held the lease" in second.said[1]
