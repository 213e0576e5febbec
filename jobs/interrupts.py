"""Ctrl-C and SIGTERM: one way out, which further ones do not cut short."""

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.console import err

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_SECONDS = 0.001


def leave_once() -> None:
    """From here on the first SIGINT or SIGTERM is a KeyboardInterrupt, and later ones wait for what it began.

    A person presses Ctrl-C again when nothing seems to happen; a second KeyboardInterrupt in the middle of
    writing down what was done would lose that.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, _wait)
    raise KeyboardInterrupt


def _wait(number: int, frame: FrameType | None) -> None:
    err.print("Still stopping: what is done is being written down.")


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of both signals back, in a thread, as often as the body takes them away.

    On its way down Ray's core makes SIGTERM deadly again, beneath Python: a second one in the seconds that
    follow would end this process in the middle of its own way out.
    """
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.argtypes, get.restype = (ctypes.c_int,), ctypes.c_void_p
    put.argtypes, put.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    handlers = {number: get(number) for number in _SIGNALS}
    over = threading.Event()

    def keep() -> None:
        while not over.wait(_LOOK_SECONDS):
            restore()

    def restore() -> None:
        for number, handler in handlers.items():
            if get(number) != handler:
                put(number, handler)

    thread = threading.Thread(target=keep, daemon=True, name="keep-handlers")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        restore()
