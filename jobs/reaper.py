"""Ends the processes of a local Ray whose driver is gone: Ray's own agents notice only after a minute.

The driver runs this file as a process of its own and holds the other end of its standard input; the end of
that input is the driver's end, however it came. It imports nothing of this project, so that it stays small.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

# Processes that were just being started are found by a later look.
_LOOKS, _QUIET, _PAUSE = 60, 12, 0.25


def marked(mark: str) -> list[int]:
    """Processes that were started with `mark` (`NAME=value`) in their environment, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # One that has ended, or is another user's.
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def end_all(mark: str) -> None:
    """Kill every process with that mark until a few looks in a row find none."""
    quiet = 0
    for _ in range(_LOOKS):
        pids = marked(mark)
        quiet = 0 if pids else quiet + 1
        if quiet == _QUIET:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_all(sys.argv[1])
