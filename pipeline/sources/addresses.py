"""A file's address: its absolute path as text that a table can hold, whatever bytes its name is made of."""

import os
import re
from pathlib import Path

_ESCAPED = re.compile(rb"\\x[0-9a-f]{2}")


def address_of(path: Path) -> str:
    """The absolute path as UTF-8; links are kept, for a file goes by the name under which it was found.

    A byte that is no UTF-8 becomes `\\xe9`, and a name that looks like that has its backslash escaped, so
    that `path_of` finds every file again. Which encoding the process takes file names for does not matter.
    """
    raw = os.path.abspath(os.fsencode(path))  # noqa: PTH100 - of bytes
    raw = _ESCAPED.sub(lambda found: rb"\x5c" + found[0][1:], raw)
    return raw.decode("utf-8", "backslashreplace")


def path_of(address: str) -> Path:
    """The path that `address_of` made an address of."""
    raw = _ESCAPED.sub(lambda found: bytes([int(found[0][2:], 16)]), address.encode())
    return Path(os.fsdecode(raw))
