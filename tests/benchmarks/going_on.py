"""The way out of a benchmark that keeps its work: Ctrl-C is one sentence, and the same command goes on."""

import signal
import sys
from collections.abc import Callable

from jobs.cli import INTERRUPTED
from jobs.interrupts import leave_once


def going_on(main: Callable[[], object]) -> None:
    """Run it; on SIGINT or SIGTERM say that it can go on, and exit as the command line does."""
    leave_once()
    try:
        main()
    except KeyboardInterrupt:
        print("Stopped. What is done is kept, and the same command goes on from there.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def leave_to_parent() -> None:
    """In a process of a pool: Ctrl-C reaches all of a terminal's processes, and their parent ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
