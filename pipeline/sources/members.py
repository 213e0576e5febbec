"""Videos that are no files of their own, and their addresses: in a tar, in a table, as numbered pictures.

`shard.tar!/melt/a.mp4` is a member of an archive, `clips.parquet!/video/17` a cell of a table, and
`frames/f_%04d.png` a sequence. Whoever reads an input asks here first whether its address is one of these;
what they hold is copied out only into files without a name, and never under a name that somebody wrote.
"""

import re
from collections.abc import Iterator
from typing import Protocol

from pipeline.sources.addresses import path_of
from pipeline.sources.cells import Cell
from pipeline.sources.pictures import PICTURES, Pictures
from pipeline.sources.tars import TarMember

INSIDE = "!/"
_IN_TAR = re.compile(r"(.*\.tar)!/(.+)", re.DOTALL | re.IGNORECASE)
_IN_TABLE = re.compile(r"(.*\.parquet)!/(.+)/(\d+)", re.DOTALL | re.IGNORECASE)
_NUMBERED = re.compile(r"(.*)/([^/]*)%(?:0\d+)?d(\.\w+)", re.DOTALL)


class Member(Protocol):
    """Something that is read like a file."""

    def told(self) -> tuple[int | None, float]:
        """Size in bytes, None where only reading tells it, and time of the last change in seconds.

        Raises:
            OSError: it cannot be looked at; FileNotFoundError where it is not there.
        """
        ...

    def identity(self) -> Iterator[bytes]:
        """What its hash is made of; raises OSError."""
        ...

    def content(self) -> Iterator[bytes]:
        """A file that decoders read, piece by piece; raises OSError."""
        ...


def is_there(location: str) -> bool:
    """Whether an address names a file, or a member of one, that is there."""
    member = member_at(location)
    if member is None:
        return path_of(location).exists()
    try:
        member.told()
    except OSError:
        return False
    return True


def member_at(location: str) -> Member | None:
    """The member that an address names; None where it is the address of a file."""
    if INSIDE in location:
        if (found := _IN_TAR.fullmatch(location)) and path_of(found[1]).is_file():
            return TarMember(path_of(found[1]), found[2])
        if (found := _IN_TABLE.fullmatch(location)) and path_of(found[1]).is_file():
            return Cell(path_of(found[1]), found[2], int(found[3]))
    found = _NUMBERED.fullmatch(location)
    if found and found[3].lower() in PICTURES and not path_of(location).exists():
        return Pictures(path_of(found[1]), found[2], found[3])
    return None
