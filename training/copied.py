"""A folder of this machine whose files go into a bucket, each when it has changed."""

import json
from collections.abc import Iterable
from pathlib import Path

from training import objects
from training.files import write_atomically

# What was put, by name, beside the files; hidden files are not put.
_KNOWN = ".copied.json"


class Copied:
    """Puts the files of a folder into a bucket, those that have changed here since they were put.

    Args:
        folder: on this machine.
        uri: where its files go.
        but: names at the top of the folder that are left out.
        remembers: whether a later process is to know what this one has put.
    """

    def __init__(self, folder: Path, uri: str, but: Iterable[str] = (), remembers: bool = False) -> None:
        self._folder, self._uri, self._but, self._remembers = folder, uri, set(but), remembers
        self._known: dict[str, list[int]] = {}
        if remembers and (folder / _KNOWN).exists():
            told = json.loads((folder / _KNOWN).read_text("utf-8"))
            self._known = told["files"] if told["uri"] == uri else {}

    def fetch(self, name: str) -> bool:
        """Have a file here as the bucket has it; False where it has none."""
        try:
            objects.fetch(f"{self._uri}/{name}", self._folder / name)
        except FileNotFoundError:
            return False
        self._known[name] = _stamp(self._folder / name)
        return True

    def fetch_missing(self, name: str) -> None:
        """Have here what the bucket has below a folder and this machine has not."""
        for inside in objects.listed(f"{self._uri}/{name}"):
            if not (self._folder / name / inside).exists():
                self.fetch(f"{name}/{inside}")

    def put(self) -> list[str]:
        """Copy what has changed, the deepest first: a page comes after its pictures. Returns its names."""
        files = [file.relative_to(self._folder) for file in self._folder.rglob("*") if file.is_file()]
        put = []
        for file in sorted(files, key=lambda file: (-len(file.parts), file)):
            if file.parts[0] in self._but or any(part.startswith(".") for part in file.parts):
                continue
            stamp = _stamp(self._folder / file)
            if self._known.get(file.as_posix()) != stamp:
                objects.put(self._folder / file, f"{self._uri}/{file.as_posix()}")
                self._known[file.as_posix()] = stamp
                put.append(file.as_posix())
        if put and self._remembers:
            told = {"uri": self._uri, "files": self._known}
            write_atomically(self._folder / _KNOWN, json.dumps(told))
        return put


def _stamp(file: Path) -> list[int]:
    told = file.stat()
    return [told.st_size, told.st_mtime_ns]
