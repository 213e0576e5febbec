"""Every video file below a folder, and what lies there besides: links, closed folders, archives, pictures."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.sources.addresses import address_of
from pipeline.sources.objects import ObjectPath
from pipeline.sources.pictures import PICTURES, SHORTEST, pattern_of
from pipeline.sources.source import Refusal, Skipped, Source
from pipeline.video.container import SNIFF_BYTES, is_text

_MEDIA_NAMES = """
    mp4 m4v mov qt mkv webm avi divx flv f4v swf gif apng mpg mpeg mpe m2v vob ts m2ts mts m4s wmv asf ogv ogg
    ps 3gp 3g2 mxf dv y4m ivf h264 264 h265 265 hevc rm rmvb nut mj2 mjp2
    webp avif heic mp3 m4a aac ac3 ec3 wav flac wma opus
"""
_OTHER_PICTURES = ".bmp"
_ARCHIVE_NAMES = "zip tar gz tgz bz2 xz zst 7z rar"
# What else lies in data sets and is no input.
_OTHER_NAMES = """
    txt md json jsonl ndjson csv tsv parquet xml yaml yml toml html py log srt vtt npy npz pt
    safetensors part tmp db ini
"""


def _suffixes(names: str) -> frozenset[str]:
    return frozenset("." + name for name in names.split())


MEDIA_SUFFIXES = _suffixes(_MEDIA_NAMES)
_PICTURES, _ARCHIVES = frozenset({*PICTURES, _OTHER_PICTURES}), _suffixes(_ARCHIVE_NAMES)
# What may hold videos, and is looked into.
HOLDERS = frozenset({".tar", ".parquet"})
_OTHER_SUFFIXES = _suffixes(_OTHER_NAMES) | _PICTURES | _ARCHIVES
# What `video2lora` makes in a working directory; none of it is ever an input.
_PRODUCTS = frozenset(
    {"catalog", "runs", "models", "edits", "generated", "reports", "report_files", "ingest_files"}
)
_OURS = "video2lora made it"

Place = Path | ObjectPath


@dataclass
class Walk:
    """What lies below a folder.

    `files` are the inputs, `sequences` numbered pictures that are one input each, `holders` archives and
    tables that may hold some, `closed` folders that cannot be listed, as inputs with a refusal, `skipped`
    what is left alone, `others` whether there are files of any other kind.
    """

    files: list[Place] = field(default_factory=list)
    sequences: list[Place] = field(default_factory=list)
    holders: list[Path] = field(default_factory=list)
    closed: list[Source] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    others: bool = False


def walk(folder: Place) -> Walk:
    """Look at everything below a folder.

    Links are followed. One that leads back to a folder above it is not, nor one that lies within a linked
    folder and leads to a folder that has been read.
    """
    if isinstance(folder, ObjectPath):
        return _walk_objects(folder)
    found = Walk()
    seen: set[tuple[int, int]] = set()
    # Folder, the folders above it, and whether a link led there.
    waiting = [(folder, frozenset(), False)]
    while waiting:
        place, above, linked = waiting.pop()
        try:
            told = place.stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"The folder cannot be listed: {(error.strerror or str(error)).lower()}."
            found.closed.append(Source(address_of(place), refusal=Refusal("closed_folder", reason)))
            continue
        here = (told.st_dev, told.st_ino)
        seen.add(here)
        above = above | {here}
        for entry in _kept(found, place, entries):
            path = place / entry.name
            if not _is_folder(entry):
                _take(found, entry, path)
            elif not entry.is_symlink():
                waiting.append((path, above, linked))
            elif (target := _identity(path)) in above:
                found.skipped.append(Skipped(address_of(path), "a link back to a folder that it lies in"))
            elif linked and target in seen:
                found.skipped.append(Skipped(address_of(path), "a link to a folder that was read already"))
            else:
                waiting.append((path, above, True))
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_dev, told.st_ino


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _kept(found: Walk, place: Path, entries: list[os.DirEntry]) -> Iterator[os.DirEntry]:
    """The entries that may be inputs or lead to some; notes the others."""
    names = {entry.name for entry in entries}
    products = _PRODUCTS if "profile.json" in names and _is_workspace(place / "profile.json") else ()
    cached = {"blobs"} if {"blobs", "snapshots"} <= names else ()
    pictures: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - many entries
        folder = _is_folder(entry)
        if entry.name.startswith("."):
            if folder or suffix.lower() in MEDIA_SUFFIXES:
                found.skipped.append(Skipped(address_of(place / entry.name), "its name begins with a dot"))
        elif folder and entry.name in cached:
            told = "the bytes of Hugging Face's cache, whose names are under snapshots"
            found.skipped.append(Skipped(address_of(place / entry.name), told))
        elif entry.name in products or suffix == ".lance" if folder else _has_lora(stem, suffix, names):
            found.skipped.append(Skipped(address_of(place / entry.name), _OURS))
        else:
            if suffix.lower() in _PICTURES and (number := re.search(r"\d+$", stem)):
                pictures.setdefault((stem[: number.start()], suffix), []).append(entry.name)
            yield entry
    videos = {os.path.splitext(name)[0] for name in names if Path(name).suffix.lower() in MEDIA_SUFFIXES}  # noqa: PTH122
    for (prefix, suffix), frames in pictures.items():
        # Beside videos of the same names they are their posters.
        if len(frames) < SHORTEST or any(name.removesuffix(suffix) in videos for name in frames):
            continue
        sequence = place / pattern_of(prefix, suffix, frames)
        if suffix.lower() in PICTURES:
            found.sequences.append(sequence)
        else:
            told = f"{len(frames)} numbered pictures of a kind that is not read; {', '.join(PICTURES)} are"
            found.skipped.append(Skipped(address_of(sequence), told))


def _has_lora(stem: str, suffix: str, names: set[str]) -> bool:
    """Whether a file is a generated video: the adapter that made it lies beside it."""
    return f"{stem}.lora.safetensors" in names and suffix.lower() in MEDIA_SUFFIXES


def _is_workspace(profile: Path) -> bool:
    """Whether this is the file that a command writes into its working directory."""
    try:
        text = profile.read_text("utf-8", "replace")
    except OSError:
        return False
    return all(f'"{section}"' in text for section in ("ingest", "backbone", "train"))


def _take(found: Walk, entry: os.DirEntry, path: Path) -> None:
    suffix = path.suffix.lower()
    try:
        regular = entry.is_file()
        broken = not regular and entry.is_symlink()
    except OSError:
        regular = broken = True  # cannot be looked at: its row will say so
    if suffix in HOLDERS and regular:
        found.holders.append(path)
        found.others = True
    elif suffix in _ARCHIVES:
        found.skipped.append(
            Skipped(address_of(path), "an archive; unpack it first (of archives only .tar is read)")
        )
    elif suffix in MEDIA_SUFFIXES and not (regular or broken):
        found.skipped.append(Skipped(address_of(path), "no regular file"))
    elif (regular or (broken and suffix in MEDIA_SUFFIXES)) and is_video_name(path):
        found.files.append(path)
    else:
        found.others = True


def _walk_objects(folder: ObjectPath) -> Walk:
    found = Walk()
    for file in folder.files():
        if _hidden(file, folder):
            if file.suffix.lower() in MEDIA_SUFFIXES:
                found.skipped.append(Skipped(str(file), "its name begins with a dot"))
        elif file.suffix.lower() in _ARCHIVES:
            told = "an archive in S3; copy it here first, where a .tar is read as it is"
            found.skipped.append(Skipped(str(file), told))
        elif ".lance/" in file.place:
            table = Skipped(str(file).partition(".lance/")[0] + ".lance", _OURS)
            found.skipped += [] if table in found.skipped[-1:] else [table]
        elif is_video_name(file):
            found.files.append(file)
        else:
            found.others = True
    return found


def _hidden(file: ObjectPath, folder: ObjectPath) -> bool:
    parts = file.place.removeprefix(folder.place).split("/")
    return any(part.startswith(".") and part not in (".", "..") for part in parts)


def is_video_name(file: Place) -> bool:
    """Whether a file is an input: by its suffix, or, where that says nothing, by not being text.

    Sound files and the like are inputs, and get their row with a reason, and so does what cannot be read:
    nothing that might have been meant as a video is passed over in silence.
    """
    suffix = file.suffix.lower()
    if suffix in MEDIA_SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES:
        return False
    if isinstance(file, ObjectPath):
        return not is_text(file.read_bytes(SNIFF_BYTES))
    try:
        with file.open("rb") as opened:
            return not is_text(opened.read(SNIFF_BYTES))
    except OSError:
        return True


def is_video_suffix(suffix: str) -> bool:
    """Whether a name with this end, from its first dot, is one of an input."""
    return "." + suffix.rpartition(".")[2].lower() in MEDIA_SUFFIXES
