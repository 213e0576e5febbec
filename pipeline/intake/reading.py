"""An input's bytes as an open local file, wherever it lies: what decoders are handed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pipeline.intake.stat import Stat, stat
from pipeline.sources import objects
from pipeline.sources.addresses import path_of
from pipeline.sources.members import member_at


@contextmanager
def reading(uri: str, expected: Stat, endpoint: str | None = None) -> Iterator[BinaryIO]:
    """Open an input; what is no file here is copied to one that has no name and ends with its use.

    Raises:
        InputChanged: it is not, or not any more, what `expected` says; OSError: it cannot be read.
    """
    if (member := member_at(uri)) is not None:
        with tempfile.TemporaryFile(prefix="video2lora-") as copy:
            for piece in member.content():
                copy.write(piece)
            if stat(uri) != expected:
                raise InputChanged(uri)
            copy.seek(0)
            yield copy
        return
    if not objects.is_object(uri):
        with path_of(uri).open("rb") as file:
            yield file
            now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime) != (expected.size, expected.mtime):
            raise InputChanged(uri)
        return
    with tempfile.TemporaryFile(prefix="video2lora-") as copy:
        before = Stat(*_apart(objects.download(uri, copy, endpoint)))
        if before != expected or stat(uri, endpoint) != expected:
            raise InputChanged(uri)
        yield copy


def _apart(told: tuple[int, str | None]) -> tuple[int, None, str | None]:
    size, etag = told
    return size, None, etag


class InputChanged(RuntimeError):
    """An input is another one than when it was hashed."""
