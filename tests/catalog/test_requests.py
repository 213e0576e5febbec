"""Requests: nobody loses one, nobody runs one twice to the end, whoever is killed meanwhile."""

import multiprocessing
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import LostClaim, OtherRequest, UnknownRequest
from catalog.maintenance import compact_table
from catalog.requests import (
    ATTEMPTS,
    Request,
    beat,
    cancel,
    claim,
    fail,
    find,
    finish,
    forget,
    holds,
    in_turn,
    listed,
    release,
    submit,
    unfinished,
)
from catalog.store import Catalog
from catalog.vocabulary import RequestState

SPAWN = multiprocessing.get_context("spawn")
AT_ONCE = timedelta(0)
ASKED = {"prompt": "a mug", "seed": 1}


@pytest.fixture
def request_id(catalog) -> str:
    return submit(catalog, "ann", ASKED)[0].request_id


def test_a_request_goes_from_the_queue_to_its_result(catalog, request_id):
    assert (find(catalog, request_id).state, find(catalog, request_id).asked) == ("queued", ASKED)
    claimed = claim(catalog, request_id, "w")
    assert (claimed.state, claimed.worker, claimed.attempt) == ("running", "w", 1)
    beat(catalog, claimed, 2, 5)
    assert (find(catalog, request_id).step, find(catalog, request_id).steps) == (2, 5)
    finish(catalog, claimed, {"video": "a.mp4"})
    done = find(catalog, request_id)
    assert (done.state, done.result, done.step) == ("done", {"video": "a.mp4"}, 2)
    assert done.created_at <= done.started_at <= done.finished_at
    assert unfinished(catalog) == []


def test_of_eight_workers_one_gets_a_request(catalog, request_id):
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: claim(catalog, request_id, f"w{n}"), range(8)))
    (winner,) = [each for each in got if each]
    assert find(catalog, request_id).worker == winner.worker
    assert find(catalog, request_id).attempt == 1


def test_a_worker_that_is_not_heard_of_loses_its_request_and_can_write_nothing(catalog, request_id):
    silent = claim(catalog, request_id, "silent")
    assert claim(catalog, request_id, "other") is None
    other = claim(catalog, request_id, "other", AT_ONCE)
    assert (other.worker, other.attempt) == ("other", 2)
    assert not holds(catalog, silent)
    for write in (
        lambda: beat(catalog, silent, 1, 2),
        lambda: finish(catalog, silent, {"video": "late.mp4"}),
        lambda: fail(catalog, silent, "late"),
        lambda: release(catalog, silent),
    ):
        with pytest.raises(LostClaim):
            write()
    finish(catalog, other, {"video": "other.mp4"})
    assert find(catalog, request_id).result == {"video": "other.mp4"}


def test_the_same_worker_may_not_write_for_an_earlier_attempt_of_its_own(catalog, request_id):
    first = claim(catalog, request_id, "w")
    second = claim(catalog, request_id, "w", AT_ONCE)
    with pytest.raises(LostClaim):
        finish(catalog, first, {})
    finish(catalog, second, {})


def test_what_has_ended_is_not_begun_again(catalog):
    for end in (
        lambda claimed: finish(catalog, claimed, {}),
        lambda claimed: fail(catalog, claimed, "no"),
        lambda claimed: cancel(catalog, claimed.request_id),
    ):
        request, _ = submit(catalog, "ann", ASKED)
        claimed = claim(catalog, request.request_id, "w")
        end(claimed)
        assert claim(catalog, request.request_id, "other", AT_ONCE) is None
        with pytest.raises(LostClaim):
            finish(catalog, claimed, {"video": "again"})


def test_a_request_is_cancelled_before_it_begins_and_while_it_runs_and_not_after(catalog):
    queued, running, done = (submit(catalog, "ann", ASKED)[0].request_id for _ in range(3))
    claimed = claim(catalog, running, "w")
    finish(catalog, claim(catalog, done, "w"), {})
    assert cancel(catalog, queued).state == RequestState.CANCELLED
    assert claim(catalog, queued, "w") is None
    assert cancel(catalog, running).state == RequestState.CANCELLED
    assert not holds(catalog, claimed)
    assert cancel(catalog, done).state == RequestState.DONE
    with pytest.raises(UnknownRequest):
        cancel(catalog, "nothing")


def test_a_worker_that_is_told_to_end_gives_its_request_back_as_if_it_had_not_begun(catalog, request_id):
    release(catalog, claim(catalog, request_id, "w"))
    again = claim(catalog, request_id, "other")
    assert (again.attempt, again.step) == (1, 0)


def test_a_request_that_ends_its_workers_is_given_up_with_a_sentence(catalog, request_id):
    for n in range(ATTEMPTS):
        assert claim(catalog, request_id, f"w{n}", AT_ONCE)
    assert claim(catalog, request_id, "one more", AT_ONCE) is None
    failed = find(catalog, request_id)
    assert failed.state == RequestState.FAILED
    assert "workers ended" in failed.error


def test_asking_again_under_a_key_is_the_same_request_also_at_once(catalog):
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: submit(catalog, "ann", ASKED, "key"), range(8)))
    assert [new for _, new in got].count(True) == 1
    assert len({request.request_id for request, _ in got}) == 1
    other, new = submit(catalog, "ben", ASKED, "key")
    assert new
    assert other.request_id != got[0][0].request_id
    with pytest.raises(OtherRequest, match="new key"):
        submit(catalog, "ann", ASKED | {"seed": 2}, "key")


def test_what_is_somebody_elses_is_not_there(catalog, request_id):
    assert find(catalog, request_id, "ann").owner == "ann"
    assert [r.request_id for r in listed(catalog, "ann")] == [request_id]
    assert listed(catalog, "ben") == []
    for owner, asked in (("ben", request_id), ("ann", "x' OR 1=1 --"), (None, "nothing")):
        with pytest.raises(UnknownRequest):
            find(catalog, asked, owner)


def test_a_removed_request_is_gone_for_its_worker_too(catalog, request_id):
    claimed = claim(catalog, request_id, "w")
    forget(catalog, [request_id])
    assert claim(catalog, request_id, "other") is None
    assert not holds(catalog, claimed)
    with pytest.raises(LostClaim):
        finish(catalog, claimed, {})


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_nobody_waits_for_all_that_another_asked_for(owners):
    now = datetime.now(UTC)
    blank = dict.fromkeys(Request.__dataclass_fields__)
    queue = [
        Request(**blank | {"request_id": f"{n:02}", "owner": o, "created_at": now + timedelta(seconds=n)})
        for n, o in enumerate(owners)
    ]
    turned = in_turn(queue)
    assert sorted(r.request_id for r in turned) == [r.request_id for r in queue]
    for owner in set(owners):
        mine = [r for r in turned if r.owner == owner]
        assert mine == [r for r in queue if r.owner == owner]
        for place, request in enumerate(mine):
            before = Counter(r.owner for r in turned[: turned.index(request)])
            assert all(count <= place + 1 for other, count in before.items() if other != owner)


def test_a_claim_ends_with_patience_and_not_before():
    blank = dict.fromkeys(Request.__dataclass_fields__)
    now = datetime.now(UTC)
    held = Request(**blank | {"state": RequestState.RUNNING, "heartbeat": now - timedelta(seconds=10)})
    assert not held.free(now, timedelta(seconds=11))
    assert held.free(now, timedelta(seconds=9))
    assert not replace(held, state=RequestState.DONE).free(now, timedelta(0))


def test_compacting_while_workers_write_loses_and_doubles_nothing(catalog):
    asked = [submit(catalog, "ann", {"n": n})[0].request_id for n in range(30)]

    def work(request_id: str) -> None:
        claimed = claim(catalog, request_id, "w")
        beat(catalog, claimed, 1, 1)
        finish(catalog, claimed, {"of": request_id})

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, request_id) for request_id in asked]
        tidied = [pool.submit(compact_table, catalog, "requests") for _ in range(3)]
        for each in (*working, *tidied):
            each.result()
    compact_table(catalog, "requests")
    assert len(catalog.tables.handle("requests").to_lance().get_fragments()) == 1
    found = {each.request_id: each.result for each in listed(catalog, "ann")}
    assert found == {request_id: {"of": request_id} for request_id in asked}


def work_until_empty(uri: str, worker: str, results) -> None:
    """A worker of a server: what is free is claimed, done in three beats, and finished."""
    catalog = Catalog.open(uri)
    while queue := unfinished(catalog):
        for request in queue:
            claimed = claim(catalog, request.request_id, worker, timedelta(seconds=2))
            if claimed is None:
                continue
            try:
                for step in range(3):
                    time.sleep(0.02)
                    beat(catalog, claimed, step + 1, 3)
                finish(catalog, claimed, {"by": worker})
            except LostClaim:
                continue
            results.put((request.request_id, worker))
        time.sleep(0.05)


def test_workers_in_processes_that_are_killed_lose_and_double_nothing(catalog):
    asked = [submit(catalog, f"owner-{n % 3}", {"n": n})[0].request_id for n in range(12)]
    results = SPAWN.Queue()
    workers = [SPAWN.Process(target=work_until_empty, args=(catalog.uri, f"w{n}", results)) for n in range(3)]
    for worker in workers:
        worker.start()
    while not any(find(catalog, request_id).state == "done" for request_id in asked):
        time.sleep(0.02)
    workers[0].kill()
    cancelled = cancel(catalog, asked[-1]).state
    for worker in workers[1:]:
        worker.join(120)
        assert worker.exitcode == 0
    rows = {request.request_id: request for n in range(3) for request in listed(catalog, f"owner-{n}")}
    assert sorted(rows) == sorted(asked)
    states = Counter(request.state for request in rows.values())
    assert states[RequestState.DONE] + states[RequestState.CANCELLED] == len(asked)
    assert states[RequestState.CANCELLED] == (cancelled == RequestState.CANCELLED)
    told = Counter()
    while not results.empty():
        told[results.get()[0]] += 1
    assert set(told.values()) <= {1}
