"""One process at a time in a folder; the others are told which one it is."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipeline.errors import PipelineError


class Busy(PipelineError):
    """Another process works in that folder."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the hold ends with the process, however that ends.

    Raises:
        Busy: another process holds it; the message says which one, and since when.
    """
    with (folder / "held").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(
                f"{folder.name} is worked on by {file.read() or 'another process'}. Let it finish: the same "
                "command then takes up what it made, or goes on from where it stopped."
            ) from None
        file.truncate(0)
        file.write(
            f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
        )
        file.flush()
        yield
