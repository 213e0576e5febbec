"""Where requests are taken in and asked after: within limits, each owner's own."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from catalog.errors import CatalogError, UnknownRequest
from catalog.requests import (
    Request,
    cancel,
    find,
    forget,
    listed,
    request_id_of,
    submit,
    unfinished,
)
from catalog.store import Catalog
from catalog.vocabulary import RequestState
from pipeline.errors import PipelineError
from pipeline.serving.asked import Asked, Shown
from pipeline.serving.dispatch import Dispatcher
from pipeline.serving.replicas import Work
from pipeline.serving.uploads import Uploads

UPLOADS = "uploads"
_MINUTE = 60.0
# Seconds that a request takes, where none was done yet.
_UNKNOWN = 10.0
_LONGEST_WAIT = 3600
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RESULT = re.compile(r"([0-9a-f]{32})-(\d+)\..+", re.ASCII)


class TooMany(PipelineError):
    """More requests than are taken now.

    Attributes:
        retry_after: seconds after which it may go better.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotYet(PipelineError):
    """Something of a request that is not there yet, or never will be."""


class Desk:
    """Takes requests in, and knows what became of them.

    Args:
        work: what workers are given; where results lie.
        dispatcher: who hands the requests out.
    """

    def __init__(self, work: Work, dispatcher: Dispatcher) -> None:
        self.work = work
        self.dispatcher = dispatcher
        self.settings = work.settings
        self.uploads = Uploads(work.folder / UPLOADS, work.catalog.spec)
        self._begun: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = Lock()

    @property
    def catalog(self) -> Catalog:
        """Whose table the requests are in."""
        return self.work.catalog

    def admit(self, owner: str, key: str | None = None, count: int = 1) -> None:
        """See that an owner may ask for something new, before an upload is read; what was asked before may.

        Args:
            key: of the one request that is asked for.
            count: of the requests that are asked for together.

        Raises:
            TooMany: not now.
        """
        if key and self._known(request_id_of(owner, key)):
            return
        waiting = unfinished(self.catalog)
        mine = sum(request.owner == owner for request in waiting)
        if len(waiting) + count > self.settings.max_queued:
            wait = self._seconds(waiting)
            raise TooMany(f"The queue is full ({len(waiting)} requests); try again in {wait} s.", wait)
        if mine + count > self.settings.max_per_user:
            wait = self._seconds(waiting)
            raise TooMany(f"{mine} requests of yours are not done yet; wait for one, or cancel it.", wait)
        with self._lock:
            now, begun = time.monotonic(), self._begun[owner]
            while begun and now - begun[0] > _MINUTE:
                begun.popleft()
            if len(begun) + count > self.settings.per_minute:
                wait = math.ceil(_MINUTE - (now - begun[0])) if begun else math.ceil(_MINUTE)
                raise TooMany(
                    f"More than {self.settings.per_minute} requests a minute; try again in {wait} s.", wait
                )
            begun.extend([now] * count)

    def submit(self, owner: str, asked: Asked, key: str | None = None) -> Request:
        """Take a request in that was admitted.

        Raises:
            BadSource: it names a clip that is not there.
            NoModel: it names a model that is not there, or there is none at all.
            OtherRequest: something else was asked for under that key.
        """
        from pipeline.models import find_model
        from pipeline.serving.worker import require_clip

        for shown in (*asked.references, asked.first_frame):
            if shown.kind == "clip":
                require_clip(self.catalog, shown.name)
        find_model(self.catalog, self.work.models, asked.model or self.work.model)
        request, new = submit(self.catalog, owner, asked.model_dump(mode="json"), key)
        if new:
            self.dispatcher.wake()
        return request

    def find(self, owner: str, request_id: str) -> Request:
        """One of an owner's; raises UnknownRequest where it is nobody's, or somebody else's."""
        if not _ID.fullmatch(request_id):
            raise UnknownRequest("There is no such request.")
        return find(self.catalog, request_id, owner)

    def listed(self, owner: str, limit: int | None = None) -> list[Request]:
        """An owner's requests, the newest first."""
        return listed(self.catalog, owner, limit)

    def places(self) -> dict[str, int]:
        """By id, how many go before each request that is not done."""
        return {each.request_id: place for place, each in enumerate(unfinished(self.catalog))}

    def cancel(self, owner: str, request_id: str) -> Request:
        """End it; see `catalog.requests.cancel`."""
        self.find(owner, request_id)
        return cancel(self.catalog, request_id)

    def remove(self, owner: str, request_id: str) -> Request:
        """End it, and remove it with its files; returns it as it was left.

        Raises:
            UnknownRequest: see `find`.
        """
        request = self.cancel(owner, request_id)
        forget(self.catalog, [request_id])
        for file in self.work.folder.glob(f"{request_id}-*"):
            file.unlink(missing_ok=True)
        return request

    def result(self, request: Request, part: str) -> Path:
        """A file of a request that is done: its `video`, `lora` or `poster`.

        Raises:
            NotYet: it is not done, or its model makes no such file.
        """
        if request.state != RequestState.DONE:
            why = f": {request.error}" if request.error else "; ask again when it is done."
            raise NotYet(f"Request {request.request_id} is {request.state}{why}")
        name = (request.result or {}).get(part)
        if not name or not (self.work.folder / name).is_file():
            raise NotYet(f"Request {request.request_id} has no {part}.")
        return self.work.folder / name

    def adapter(self, request: Request, target: str) -> bytes:
        """The LoRA of a request that is done, under the names that a target reads.

        Raises:
            NotYet: see `result`.
            BadAdapter: the target has no names for it.
        """
        from safetensors import safe_open
        from safetensors.torch import save

        from training.methods.lightlora.export import load_lora
        from training.methods.lightlora.targets import lora_for

        file = self.result(request, "lora")
        with safe_open(file, framework="pt") as opened:
            facts = opened.metadata()
        named = lora_for(target, load_lora(file), Path(f"{request.request_id[:12]}.safetensors"))
        return save(named, facts)

    def preview(self, request: Request) -> Path:
        """A picture of how far it is; the poster of one that is done.

        Raises:
            NotYet: there is none yet.
        """
        if request.state == RequestState.DONE:
            return self.result(request, "poster")
        file = self.work.folder / f"{request.request_id}-{request.attempt}.preview.jpg"
        if not file.is_file():
            raise NotYet("There is no preview yet.")
        return file

    def sweep(self) -> None:
        """Remove files that no request names: of attempts that did not count, uploads that led nowhere."""
        rows = self.catalog.scan("requests", ["request_id", "asked", "attempt", "state"]).to_pylist()
        attempts = {row["request_id"]: row["attempt"] for row in rows}
        for file in self.work.folder.glob("*-*.*"):
            match = _RESULT.fullmatch(file.name)
            if match and attempts.get(match[1]) != int(match[2]):
                file.unlink(missing_ok=True)
        named = {upload.name for row in rows for upload in _uploads(row["asked"])}
        self.uploads.sweep(named)

    def _known(self, request_id: str) -> bool:
        try:
            find(self.catalog, request_id)
        except UnknownRequest:
            return False
        return True

    def _seconds(self, waiting: list[Request]) -> int:
        """After how long one of the waiting is done, as it seems."""
        columns = ["started_at", "finished_at", "state"]
        rows = self.catalog.scan("requests", columns).to_pylist()
        took = sorted(
            (row["finished_at"] - row["started_at"]).total_seconds()
            for row in rows
            if row["state"] == RequestState.DONE and row["started_at"] and row["finished_at"]
        )
        usual = took[len(took) // 2] if took else _UNKNOWN
        running = [r for r in waiting if r.state == RequestState.RUNNING and r.started_at]
        gone = max(((datetime.now(UTC) - r.started_at).total_seconds() for r in running), default=0.0)
        return min(max(1, math.ceil(usual - min(gone, usual))), _LONGEST_WAIT)


def _uploads(asked: str | Mapping[str, Any] | None) -> list[Shown]:
    try:
        read = Asked.model_validate_json(asked) if isinstance(asked, str) else Asked.model_validate(asked)
    except (ValueError, CatalogError):
        return []
    return [shown for shown in (*read.references, read.first_frame) if shown.kind == "upload"]
