"""Videos in a tar as WebDataset has them: files of one sample share their name up to the first dot."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.sources.addresses import address_of
from pipeline.sources.layouts import label_of
from pipeline.sources.manifests import COLUMNS, Listing
from pipeline.sources.rows import plain
from pipeline.sources.source import Refusal, Skipped, Source

_CHUNK = 4 * 1024**2
# Of what describes a sample, and of a header that a stranger wrote, no more is read.
_LONGEST_TEXT, _LONGEST_HEADER = 1024**2, 1024**2
_CAPTIONS = (".txt", ".caption", ".text")
_SAID = ("label", "caption", "source", "licence", "licence_evidence", "generator")


@dataclass(frozen=True)
class TarMember:
    """A regular file in a tar that is not compressed."""

    archive: Path
    name: str

    def told(self) -> tuple[int, float]:
        of_archive = self.archive.stat()
        _, size = self._place()
        return size, of_archive.st_mtime

    def identity(self) -> Iterator[bytes]:
        return self.content()

    def content(self) -> Iterator[bytes]:
        at, left = self._place()
        with self.archive.open("rb") as file:
            file.seek(at)
            while left:
                if not (chunk := file.read(min(_CHUNK, left))):
                    raise OSError(None, "The archive ends in the middle of it")
                left -= len(chunk)
                yield chunk

    def _place(self) -> tuple[int, int]:
        of_archive = self.archive.stat()
        places, _ = _index(self.archive, of_archive.st_size, of_archive.st_mtime_ns)
        if self.name not in places:
            raise FileNotFoundError(2, "No such file in the archive", f"{self.archive}!/{self.name}")
        return places[self.name]


def listing(
    archive: Path, label: str | None, is_video: Callable[[str], bool]
) -> tuple[Listing, list[Skipped]]:
    """The videos of a tar, with what its other members say of them, and what is left alone.

    Args:
        label: the category of videos that neither their sample nor a folder in the archive labels.
        is_video: whether a name is a video's.
    """
    address = address_of(archive)
    try:
        of_archive = archive.stat()
        places, torn = _index(archive, of_archive.st_size, of_archive.st_mtime_ns)
    except OSError as error:
        return Listing([Source(address, refusal=Refusal("unreadable", f"{error.strerror or error}."))]), []
    samples: dict[str, dict[str, str]] = {}
    for name in places:
        folder, _, file = name.rpartition("/")
        stem, dot, suffix = file.partition(".")
        samples.setdefault(f"{folder}/{stem}", {})[f"{dot}{suffix}".lower()] = name
    sources, others = [], 0
    for members in samples.values():
        videos = [name for suffix, name in members.items() if is_video(suffix)]
        others += 0 if videos else len(members)
        said = _said(archive, places, members) if videos else {}
        for name in videos:
            named = said.get("label") or label_of(PurePosixPath(name).parent.name) or label
            sources.append(Source(f"{address}!/{name}", **{**said, "label": named}))
    skipped = [Skipped(address, f"{others} of its members are no videos")] if others else []
    if torn:
        sources.append(Source(address, refusal=Refusal("damaged_archive", torn)))
    elif not sources:
        skipped = [Skipped(address, "an archive without videos")]
    return Listing(sources), skipped


def _said(archive: Path, places: dict, members: dict[str, str]) -> dict[str, str]:
    """Label, caption and the like of a sample: of its .json, its .txt and its .cls."""
    said: dict[str, str] = {}
    if ".json" in members:
        try:
            told = json.loads(_text(archive, places[members[".json"]]) or "{}")
        except (ValueError, RecursionError):
            told = {}
        known = {plain(key): value for key, value in told.items()} if isinstance(told, dict) else {}
        for ours in _SAID:
            values = [known[name] for name in COLUMNS[ours] if isinstance(known.get(name), str | int)]
            if values and str(values[0]).strip():
                said[ours] = str(values[0]).strip()
    captions = [
        text for each in _CAPTIONS if each in members and (text := _text(archive, places[members[each]]))
    ]
    if captions:
        said["caption"] = captions[0]
    if ".cls" in members and (label := _text(archive, places[members[".cls"]])):
        said["label"] = label
    return said


def _text(archive: Path, place: tuple[int, int]) -> str | None:
    at, size = place
    if size > _LONGEST_TEXT:
        return None
    with archive.open("rb") as file:
        file.seek(at)
        try:
            return file.read(size).decode("utf-8-sig").strip() or None
        except UnicodeDecodeError:
            return None


class _Headers:
    """An open tar of which headers are read; one that claims to be huge, or negative, is refused."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError("a header of impossible size")
        return self._file.read(size)


@lru_cache(maxsize=64)
def _index(archive: Path, size: int, mtime_ns: int) -> tuple[dict[str, tuple[int, int]], str | None]:
    """Offset and size of every regular file by its name, and what is wrong with the archive, if something is.

    Links and devices are none; of two members of one name the last counts, as when unpacking.
    """
    places: dict[str, tuple[int, int]] = {}
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=_Headers(file), mode="r:") as tar:
            before = -1
            for member in tar:
                if member.offset_data <= before:
                    return places, "The archive is damaged: its members go back and forth."
                before = member.offset_data
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > size:
                        return places, f"The archive ends in the middle of {member.name[:200]!r}."
                    places[member.name.removeprefix("./")] = (member.offset_data, member.size)
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        return places, f"The archive is damaged, or no tar ({error})."
    return places, None
