"""From the queue to whoever works it off: free requests go out in turn, one to a worker at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from catalog.errors import CatalogError, LostClaim
from catalog.maintenance import compact_table
from catalog.requests import Request, find, release, unfinished
from catalog.store import Catalog
from catalog.vocabulary import RequestState
from training.metrics import QUEUE

# Seconds between two looks at the queue: others may have put something there, or a worker may be silent.
_LOOK = 1.0
# Requests after which their table is compacted: every one of them leaves a file or two, and old versions.
_TIDY, _KEPT = 100, timedelta(hours=1)
# Seconds after which workers that did not start are tried again.
_AGAIN = 30.0
logger = logging.getLogger(__name__)


class Workers(Protocol):
    """Who works requests off."""

    @property
    def places(self) -> int:
        """How many at once."""

    def work_off(self, request_id: str) -> str | None:
        """See `Worker.work_off`; returns when it is done."""


class WorkersState(StrEnum):
    """How the workers of a server stand."""

    NOT_NEEDED = "not needed yet"
    STARTING = "starting"
    READY = "ready"
    BROKEN = "not to be had"


class Dispatcher:
    """A thread that hands requests to workers; these are started when the first request waits.

    The queue is the catalogue's table and nothing else: whatever dies, it is read again. No more requests are
    handed out than there are workers, so that none waits where it could not be seen or cancelled.

    Args:
        open_workers: starts them, and ends them on the way out.
        patience: how long a worker may be silent.
    """

    def __init__(
        self,
        catalog: Catalog,
        open_workers: Callable[[], AbstractContextManager[Workers]],
        patience: timedelta,
    ) -> None:
        self.catalog = catalog
        self.state = WorkersState.NOT_NEEDED
        self.trouble: str | None = None
        self._open = open_workers
        self._patience = patience
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._flying: dict[str, Future] = {}
        self._landings = 0

    def start(self) -> None:
        """Begin; what a server before this one left unfinished goes on."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """End: what runs goes back into the queue, and the workers are ended."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with ExitStack() as stack:
                    self._serve(stack)
            except Exception as error:
                # A queue whose dispatcher has ended would wait for ever.
                self.state, self.trouble = WorkersState.BROKEN, str(error).strip() or type(error).__name__
                logger.exception("requests wait: their workers are not to be had")
                self._stopped.wait(_AGAIN)

    def _serve(self, stack: ExitStack) -> None:
        workers: Workers | None = None
        pool: ThreadPoolExecutor | None = None
        while not self._stopped.is_set():
            self._wake.clear()
            self._flying = {key: call for key, call in self._flying.items() if not call.done()}
            free = [each for each in self._free() if each.request_id not in self._flying]
            QUEUE.set(len(free), stage="generate")
            if free and workers is None:
                self.state = WorkersState.STARTING
                workers = stack.enter_context(self._open())
                pool = ThreadPoolExecutor(workers.places, "request")
                # A worker that loads a large model is not waited for: it is ended with the others.
                stack.callback(pool.shutdown, wait=False, cancel_futures=True)
                stack.callback(self._give_back)
                self.state, self.trouble = WorkersState.READY, None
            if workers is not None and pool is not None:
                for request in free[: workers.places - len(self._flying)]:
                    call = pool.submit(workers.work_off, request.request_id)
                    self._flying[request.request_id] = call
                    call.add_done_callback(self._landed)
            if self._landings >= _TIDY:
                self._landings = 0
                compact_table(self.catalog, "requests", _KEPT)
            self._wake.wait(_LOOK)

    def _free(self) -> list[Request]:
        now = datetime.now(UTC)
        return [each for each in unfinished(self.catalog) if each.free(now, self._patience)]

    def _landed(self, call: Future) -> None:
        self._landings += 1
        if self._stopped.is_set() or call.cancelled():
            return
        if error := call.exception():
            # The worker is gone, or the catalogue was: nobody is heard of, and it is handed out again.
            logger.error("a worker ended over its request", exc_info=error)
        self._wake.set()

    def _give_back(self) -> None:
        """Let whoever serves next have what is in work here; the workers notice, and end."""
        for request_id, call in self._flying.items():
            if call.done():
                continue
            try:
                request = find(self.catalog, request_id)
                if request.state == RequestState.RUNNING:
                    release(self.catalog, request)
            except LostClaim:
                continue
            except (CatalogError, OSError, RuntimeError):
                logger.warning("%s stays claimed until it expires", request_id, exc_info=True)
