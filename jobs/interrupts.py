"""Ctrl-C and SIGTERM: one way out, which further ones do not cut short."""

import signal
import threading
from types import FrameType

from jobs.console import err


def leave_once() -> None:
    """From here on the first SIGINT or SIGTERM is a KeyboardInterrupt, and later ones wait for what it began.

    A person presses Ctrl-C again when nothing seems to happen; a second KeyboardInterrupt in the middle of
    writing down what was done would lose that.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _wait)
    raise KeyboardInterrupt


def _wait(number: int, frame: FrameType | None) -> None:
    err.print("Still stopping: what is done is being written down.")
