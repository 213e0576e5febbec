"""Requests: what somebody asked for, worked off by one worker at a time, whatever is killed meanwhile.

    queued ─ claim ─► running ─ finish ─► done
       │                 ├───── fail ──► failed
       │                 ├── release ──► queued
       └──── cancel ─────┴─────────────► cancelled

Every change is a compare-and-swap on the request's row: decided on what was read, written only where nobody
wrote since. A worker's claim is its name and the attempt; it lasts while the worker is heard of, and who has
lost it can write nothing. So a request is finished once, by one worker.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from lancedb.expr import col

from catalog.errors import LostClaim, OtherRequest, UnknownRequest, WriteConflict
from catalog.vocabulary import RequestState

if TYPE_CHECKING:
    from catalog.store import Catalog

# How long a worker may be silent before its request is another's.
PATIENCE = timedelta(seconds=30)
# Workers that may end over one request before it is given up: it may be what ends them.
ATTEMPTS = 5
ENDED = frozenset({RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED})
UNFINISHED = (RequestState.QUEUED, RequestState.RUNNING)
_TRIES = 20


@dataclass(frozen=True)
class Request:
    """One row of `requests`.

    Attributes:
        owner: whose it is; nobody else sees it.
        asked: what was asked for, JSON.
        step, steps: what is done of what is to be done; 0 of 0 until a worker knows.
        worker, heartbeat, attempt: whose claim it is, when that one was last heard of, how many began it.
        result: what came of it, JSON, of one that is done.
        error: why it failed, in a sentence.
    """

    request_id: str
    owner: str
    idempotency_key: str | None
    state: RequestState
    asked: Mapping[str, Any]
    step: int
    steps: int
    worker: str | None
    heartbeat: datetime | None
    attempt: int
    result: Mapping[str, Any] | None
    error: str | None
    revision: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The row, its JSON read."""
        read = {each.name: row[each.name] for each in fields(cls)}
        read |= {
            "state": RequestState(row["state"]),
            "asked": json.loads(row["asked"] or "{}"),
            "result": json.loads(row["result"]) if row["result"] else None,
        }
        return cls(**read)

    @property
    def ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ENDED

    def free(self, now: datetime, patience: timedelta = PATIENCE) -> bool:
        """Whether a worker may have it: nobody has, or who had it is not heard of any more."""
        if self.state == RequestState.RUNNING:
            return self.heartbeat is None or now - self.heartbeat > patience
        return self.state == RequestState.QUEUED


def submit(
    catalog: Catalog, owner: str, asked: Mapping[str, Any], key: str | None = None
) -> tuple[Request, bool]:
    """Put a request at the end of the queue.

    Args:
        asked: what is asked for, JSON.
        key: the asker's own name for it: asking again under the same key is the same request.

    Returns:
        The request, and whether it is new.

    Raises:
        OtherRequest: something else was asked for under that key.
    """
    request_id = request_id_of(owner, key) if key else secrets.token_hex(16)
    row: dict[str, Any] = {
        "request_id": request_id,
        "owner": owner,
        "idempotency_key": key,
        "state": RequestState.QUEUED,
        "asked": json.dumps(asked, sort_keys=True),
        "step": 0,
        "steps": 0,
        "attempt": 0,
        "revision": 0,
        "created_at": datetime.now(UTC),
    }
    if catalog.add("requests", [row]):
        return find(catalog, request_id), True
    known = find(catalog, request_id, owner)
    if json.dumps(known.asked, sort_keys=True) != row["asked"]:
        raise OtherRequest(
            f"The idempotency key {key!r} stands for another request ({known.request_id}): what is asked for"
            " differs. Use a new key for a new request."
        )
    return known, False


def request_id_of(owner: str, key: str) -> str:
    """The id of what an owner asks for under a key: two that ask at once meet at one row."""
    return hashlib.sha256(f"{owner}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def find(catalog: Catalog, request_id: str, owner: str | None = None) -> Request:
    """One request.

    Args:
        owner: who asks, None for the server itself.

    Raises:
        UnknownRequest: there is none of that id, or it is somebody else's; which of the two is not told.
    """
    rows = catalog.get("requests", [request_id]).to_pylist()
    if not rows or (owner is not None and rows[0]["owner"] != owner):
        raise UnknownRequest(f"There is no request {request_id[:64]!r}.")
    return Request.of(rows[0])


def listed(catalog: Catalog, owner: str, limit: int | None = None) -> list[Request]:
    """The requests of an owner, the newest first."""
    rows = catalog.scan("requests", where=col("owner") == owner).to_pylist()
    found = sorted(map(Request.of, rows), key=lambda r: (r.created_at, r.request_id), reverse=True)
    return found[:limit]


def unfinished(catalog: Catalog) -> list[Request]:
    """Everybody's requests that are queued or running, in the order in which they are worked off."""
    rows = catalog.scan("requests", where=col("state").isin([str(state) for state in UNFINISHED])).to_pylist()
    return in_turn(map(Request.of, rows))


def in_turn(requests: Iterable[Request]) -> list[Request]:
    """First come, first served, but one of each owner before the second of any."""
    came = sorted(requests, key=lambda r: (r.created_at, r.request_id))
    before: Counter[str] = Counter()
    places = []
    for request in came:
        places.append((before[request.owner], request.created_at, request.request_id))
        before[request.owner] += 1
    return [request for _, request in sorted(zip(places, came, strict=True), key=lambda each: each[0])]


def claim(catalog: Catalog, request_id: str, worker: str, patience: timedelta = PATIENCE) -> Request | None:
    """Take a request that is free; None where it is not, or is none any more.

    One over which ATTEMPTS workers have ended is failed instead.
    """
    now = datetime.now(UTC)

    def taken(request: Request) -> dict[str, Any] | None:
        if not request.free(now, patience):
            return None
        if request.attempt >= ATTEMPTS:
            sentence = f"{ATTEMPTS} workers ended while they worked on it; the server's log may say why."
            return {"state": RequestState.FAILED, "error": sentence, "finished_at": now}
        return {
            "state": RequestState.RUNNING,
            "worker": worker,
            "heartbeat": now,
            "attempt": request.attempt + 1,
            "started_at": now,
            "step": 0,
            "steps": 0,
        }

    try:
        claimed = _changed(catalog, request_id, taken)
    except UnknownRequest:
        return None
    return claimed if claimed and claimed.state == RequestState.RUNNING else None


def beat(catalog: Catalog, claimed: Request, step: int, steps: int) -> Request:
    """Say that its worker is there, and how far it is.

    Raises:
        LostClaim: it was cancelled, or is another worker's.
    """
    return _held(catalog, claimed, {"heartbeat": datetime.now(UTC), "step": step, "steps": steps})


def holds(catalog: Catalog, claimed: Request) -> bool:
    """Whether the claim still stands: a look, which writes nothing."""
    rows = catalog.get("requests", [claimed.request_id], ["state", "worker", "attempt"]).to_pylist()
    return bool(rows) and _is_held(rows[0], claimed)


def finish(catalog: Catalog, claimed: Request, result: Mapping[str, Any]) -> Request:
    """Say what came of it; raises LostClaim (see `beat`)."""
    ended = {"state": RequestState.DONE, "result": json.dumps(result, sort_keys=True), "error": None}
    return _held(catalog, claimed, ended | {"finished_at": datetime.now(UTC)})


def fail(catalog: Catalog, claimed: Request, sentence: str) -> Request:
    """Say why nothing comes of it; raises LostClaim (see `beat`)."""
    ended = {"state": RequestState.FAILED, "error": sentence, "finished_at": datetime.now(UTC)}
    return _held(catalog, claimed, ended)


def release(catalog: Catalog, claimed: Request) -> Request:
    """Put it back into the queue: its worker is told to end; raises LostClaim (see `beat`)."""
    queued = {"state": RequestState.QUEUED, "worker": None, "heartbeat": None}
    return _held(catalog, claimed, queued | {"attempt": claimed.attempt - 1, "step": 0, "steps": 0})


def cancel(catalog: Catalog, request_id: str) -> Request:
    """End it: a queued one never begins, a running one loses its worker. One that has ended stays as it is.

    Raises:
        UnknownRequest: there is none of that id.
    """
    now = datetime.now(UTC)

    def cancelled(request: Request) -> dict[str, Any] | None:
        return None if request.ended else {"state": RequestState.CANCELLED, "finished_at": now}

    return _changed(catalog, request_id, cancelled) or find(catalog, request_id)


def forget(catalog: Catalog, request_ids: Sequence[str]) -> None:
    """Take rows out of the table; a worker that holds one of them loses its claim."""
    catalog.remove("requests", request_ids)


def _held(catalog: Catalog, claimed: Request, change: dict[str, Any]) -> Request:
    def kept(request: Request) -> dict[str, Any]:
        if not _is_held(vars(request), claimed):
            raise LostClaim(f"Request {claimed.request_id} is {request.state}, and not this worker's.")
        return change

    try:
        written = _changed(catalog, claimed.request_id, kept)
    except UnknownRequest as error:
        raise LostClaim(f"Request {claimed.request_id} was removed.") from error
    assert written is not None
    return written


def _is_held(row: Mapping[str, Any], claimed: Request) -> bool:
    held = (row["state"], row["worker"], row["attempt"])
    return held == (RequestState.RUNNING, claimed.worker, claimed.attempt)


def _changed(
    catalog: Catalog, request_id: str, decide: Callable[[Request], dict[str, Any] | None]
) -> Request | None:
    """The request as it was written; None where `decide`, who sees it as it is, writes nothing."""
    for _ in range(_TRIES):
        seen = find(catalog, request_id)
        change = decide(seen)
        if change is None:
            return None
        row = {"request_id": request_id, "revision": seen.revision + 1, **change}
        if catalog.swap("requests", row, "revision", seen.revision):
            return _with(seen, row)
    raise WriteConflict(f"Others kept changing request {request_id}. Try again.")


def _with(seen: Request, row: Mapping[str, Any]) -> Request:
    values = vars(seen) | dict(row)
    if isinstance(values["result"], str):
        values["result"] = json.loads(values["result"])
    return Request(**values)
