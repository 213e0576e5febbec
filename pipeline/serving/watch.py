"""A worker at its request: heard of, seen to move on, and told when the request is no longer its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from catalog.errors import CatalogError, LostClaim
from catalog.requests import Request, beat, holds
from catalog.store import Catalog

# Seconds between two looks: so late, and a step, a cancelled request ends.
_LOOK = 0.5
# Seconds between two commits that only say a further step: every commit is a version of the table.
_TOLD = 2.0
logger = logging.getLogger(__name__)


class Watch:
    """While its body runs, the request's worker is heard of; call it as the `Progress` of the work.

    The claim is looked at beside the work, in a thread, and lost claims are raised where the work is: a step
    of a large model may take longer than a claim lasts.

    Args:
        claimed: by this worker.
        lasts: seconds after which a worker that is not heard of loses its claim.
        peek: called with the facts of a step, now and then: not before the thread has nothing else to tell.
    """

    def __init__(
        self,
        catalog: Catalog,
        claimed: Request,
        lasts: float,
        peek: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.claimed = claimed
        self._every = lasts / 5
        self._peek = peek
        self._peeked = time.monotonic()
        self._at = (0, 0)
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __call__(self, step: int, steps: int | None, facts: dict[str, Any] | None = None) -> None:
        """Say how far the work is; raises LostClaim where it is done for nobody."""
        self._at = (step, steps or 0)
        self.check()
        if self._peek is not None and facts and time.monotonic() - self._peeked > _TOLD:
            self._peek(facts)
            self._peeked = time.monotonic()

    def check(self) -> None:
        """Raises LostClaim where the request was cancelled, or is another worker's."""
        if self._lost.is_set():
            raise LostClaim(f"Request {self.claimed.request_id} is not this worker's any more.")

    def _look(self) -> None:
        told, told_at = (0, 0), time.monotonic()
        while not self._over.wait(min(_LOOK, self._every)):
            now, at = time.monotonic(), self._at
            try:
                if not holds(self.catalog, self.claimed):
                    self._lost.set()
                    return
                if now - told_at > self._every or (at != told and now - told_at > min(_TOLD, self._every)):
                    beat(self.catalog, self.claimed, *at)
                    told, told_at = at, time.monotonic()
            except LostClaim:
                self._lost.set()
                return
            except (CatalogError, OSError, RuntimeError):
                # A full disk, a bucket that is away: the claim lasts a while longer, and so does the work.
                logger.warning("%s: cannot say that it goes on", self.claimed.request_id, exc_info=True)
