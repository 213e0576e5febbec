"""Leave Ctrl-C to the caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a thread of its own: an interrupt reaches the caller at once, who waits for the result.

    Ray Train takes over SIGINT when it runs in the main thread, and then ends the process with a status of
    its own; the caller could neither say what happened nor shut anything down.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is waited for
            result.set_exception(error)

    threading.Thread(target=run, name="in-thread", daemon=True).start()
    return result
