"""Decisions: each a row; alike ones are counted; one that was taken up is written by nobody else."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.decisions import amend, begin, close, decisions, looks_taken, note, take_up
from catalog.errors import LeaseLost
from catalog.leases import take
from catalog.vocabulary import Trigger, Verdict

SHORT = 0.4
LONG_AGO = timedelta(hours=1)


def test_decisions_that_nothing_is_due_are_one_row_that_counts_until_another_one_comes(catalog):
    for reasons in (["2 new clips"], ["3 new clips"], ["3 new clips"]):
        note(catalog, Verdict.NOT_DUE, reasons, "cron")
    [one] = decisions(catalog)
    assert (one.times, one.reasons, one.verdict) == (3, ("3 new clips",), "not due")
    note(catalog, Verdict.NO_LOOKS, ["looked at 5 times"], "cron")
    note(catalog, Verdict.NOT_DUE, [], "cron")
    assert [each.decision_id for each in decisions(catalog)] == ["3", "2", "1"]


def test_looks_are_counted_by_holdout_and_champion(catalog):
    lease = take(catalog, "retrain", "one")
    for champion in ("a", "a", "b"):
        row = begin(lease, [Trigger.HAND], ["asked"], catalog.snapshot(), champion)
        row = amend(lease, row, holdout="holdout-1", looked=True)
        close(lease, row, Verdict.KEPT, ["no better"], figures={"passed": False})
    assert looks_taken(catalog, "holdout-1", "a") == 2
    assert looks_taken(catalog, "holdout-2", "a") == 0
    assert decisions(catalog)[0].figures == {"passed": False}


def test_what_a_dead_process_began_is_taken_up_and_can_be_written_by_it_no_more(catalog):
    dead = take(catalog, "retrain", "the dead", seconds=SHORT, clock=lambda: datetime.now(UTC) - LONG_AGO)
    begun = begin(dead, [Trigger.AGE], ["old"], catalog.snapshot(), None)
    living = take(catalog, "retrain", "the living", seconds=SHORT)
    taken = take_up(living, begun)
    assert (taken.attempts, taken.snapshot) == (2, begun.snapshot)
    for late in (lambda: amend(dead, begun, looked=True), lambda: close(dead, begun, Verdict.PROMOTED, [])):
        with pytest.raises(LeaseLost, match="nothing was written"):
            late()
    with pytest.raises(LeaseLost):
        begin(dead, [Trigger.AGE], ["old"], catalog.snapshot(), None)
    close(living, taken, Verdict.KEPT, ["no better"])
    [one] = decisions(catalog)
    assert (one.verdict, one.actor) == ("kept", "the living")
