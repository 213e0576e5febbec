"""Entries of manifests to inputs: which column means what, which file is named, what is wrong with it."""

import math
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import BadManifest
from pipeline.sources.addresses import address_of
from pipeline.sources.objects import ObjectPath
from pipeline.sources.rows import Row, plain, refuse
from pipeline.sources.source import Refusal, Source
from pipeline.video.plan import Window

# The field's names for what we call path, label, caption, …; the first that a manifest has counts.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": (
        "file_path",
        "filepath",
        "video_path",
        "video_paths",
        "path",
        "file",
        "file_name",
        "filename",
        "video",
        "uri",
    ),
    "label": ("type", "class", "kind", "category", "label", "effect", "category_name"),
    "caption": ("text", "video_caption", "tar_video_caption", "caption", "prompt", "description"),
    "source": ("source", "dataset", "source_repo", "provider"),
    "licence": ("licence", "license"),
    "licence_evidence": ("licence_evidence", "license_evidence", "license_url"),
    "generator": ("generator", "model"),
    "id": ("id", "clip_id", "video_id"),
    "start": ("start", "start_seconds"),
    "end": ("end", "end_seconds"),
    "references": ("ref_video_paths", "references"),
    "score": ("reference_alignment_score", "alignment_score"),
}
# Columns that become attributes of a source as they are.
_SAID = ("label", "caption", "source", "licence", "licence_evidence", "generator")
# VideoX-Fun's `type` says what a file is; as labels these would make everything one effect.
_MEDIA = {"video", "image"}


class LeadsOutside(Exception):
    """A name that climbs out of the folder it is looked for in."""


@dataclass
class Listing:
    """What a manifest gives: inputs, and sentences about how it was read."""

    sources: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def resolve_columns(path: Path, rows: Sequence[Row], given: Mapping[str, str] | None) -> dict[str, str]:
    """Our name to the manifest's name of each column it has.

    Args:
        given: ours to theirs; the empty name says that no column is meant.

    Raises:
        BadManifest: no column of paths, or a given name that the manifest lacks.
    """
    present: dict[str, str] = {}
    for name in dict.fromkeys(name for row in rows for name in row.values):
        present.setdefault(plain(name), name)
    listed = ", ".join(map(repr, present.values()))
    resolved: dict[str, str] = {}
    for ours, theirs in (given or {}).items():
        if ours not in COLUMNS:
            raise BadManifest(f"No column of ours is called {ours!r}; there are {', '.join(COLUMNS)}.")
        if theirs and plain(theirs) not in present:
            raise BadManifest(f"{path}, line 1: no column {theirs!r} for {ours}; its columns are {listed}.")
        resolved[ours] = present[plain(theirs)] if theirs else ""
    for ours, names in COLUMNS.items():
        known = (present[name] for name in names if name in present)
        if ours == "label":
            known = (name for name in known if not _is_medium(rows, name))
        resolved.setdefault(ours, next(known, ""))
    resolved = {ours: theirs for ours, theirs in resolved.items() if theirs}
    if "path" not in resolved:
        raise BadManifest(
            f"{path}, line 1: no column names the files; its columns are {listed or 'none'}. "
            "Say which with a column map, for example path=video_file."
        )
    return resolved


def _is_medium(rows: Sequence[Row], name: str) -> bool:
    return {_text(row.values.get(name)) for row in rows} - {None} <= _MEDIA


def unread(rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    """A sentence about the columns that nothing is taken from, if there are some."""
    left = list(dict.fromkeys(str(name) for row in rows for name in row.values if name not in names.values()))
    return [f"columns that were not read: {', '.join(left)}"] if left else []


class Root:
    """The folder that a manifest's paths start from and may not leave."""

    def __init__(self, top: Path | ObjectPath) -> None:
        self.top = top.resolve()
        self._bounds = _bounds(self.top)
        self._listed: dict[Path, dict[str, str]] = {}

    def find(self, named: object) -> tuple[str, Refusal | None]:
        """The address of a file that an entry names, or what is wrong with the name.

        A file that is not there has an address too: its row says so, and a later run looks again.

        Raises:
            LeadsOutside: the name climbs out of the folder.
        """
        if not isinstance(named, str) or not named.strip():
            return "", Refusal("not_named", "The entry names no file.")
        named = named.strip()
        try:
            file = self._spelt(named)
            inside = file.resolve().is_relative_to(self._bounds)
        except (OSError, ValueError):  # too long, a null byte, half a surrogate pair
            return "", Refusal("not_named", f"The entry's {named[:100]!r} is no name of a file.")
        if not inside:
            told = f"The link {named!r} leads outside {str(self.top)!r}; copy the file, or ingest its folder."
            return "", Refusal("leads_outside", told)
        return str(file) if isinstance(file, ObjectPath) else address_of(file), None

    def _spelt(self, named: str) -> Path | ObjectPath:
        """The file, also where the manifest comes from a system that writes names otherwise."""
        file = self._below(named)
        if isinstance(file, ObjectPath) or file.exists() or file.is_symlink():
            return file
        if "\\" in named:
            other = self._below(named.replace("\\", "/"))
            if other.exists():
                return other
        return self._composed(file)

    def _below(self, named: str) -> Path | ObjectPath:
        if isinstance(self.top, ObjectPath):
            file = (self.top / named).resolve()
        else:
            file = Path(os.path.normpath(self.top / named))
        if not file.is_relative_to(self.top):
            raise LeadsOutside(f"{named!r} leads outside {str(self.top)!r}")
        return file

    def _composed(self, file: Path) -> Path:
        """The file whose name is the same text in another form of Unicode (macOS writes é as two signs)."""
        found = self.top
        for part in file.relative_to(self.top).parts:
            if not (found / part).exists():
                part = self._names(found).get(unicodedata.normalize("NFC", part), part)
            found = found / part
        return found

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                names = os.listdir(folder)  # noqa: PTH208 - the names alone
            except OSError:
                names = []
            self._listed[folder] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._listed[folder]


def _bounds(top: Path | ObjectPath) -> Path | ObjectPath:
    """What links below a folder may lead to: itself, or in Hugging Face's cache the files beside it."""
    if isinstance(top, Path):
        for folder in (top, *top.parents):
            if folder.name == "snapshots" and (folder.parent / "blobs").is_dir():
                return folder.parent
    return top


def to_sources(
    path: Path,
    rows: Sequence[Row],
    columns: Mapping[str, str] | None,
    root: Path | None,
    again: bool = False,
    unit: str = "seconds",
) -> Listing:
    """One input per entry; an entry that names no file that may be opened is one with a refusal.

    Args:
        root: where relative paths start and which no path may leave; the manifest's folder by default.
        again: whether a file may be listed again (a list of pairs); its first entry counts.
        unit: what the columns of a window count, `seconds` or `frames`.

    Raises:
        BadManifest: no column of paths, or names that lead outside; all of them at once.
    """
    if not rows:
        return Listing()
    names, top = resolve_columns(path, rows, columns), Root(root or path.parent)
    sources, lines, outside = [], [], []
    for row in rows:
        try:
            uri, refusal = top.find(row.values.get(names["path"]))
        except LeadsOutside as error:
            outside.append((row.line, f"{error}; put the manifest into a folder above its videos"))
            continue
        window = None
        if refusal is None:
            window, refusal = _window(row, names, unit)
        said = said_by(row, names)
        uri = entry_of(path, row.line) if refusal else uri
        sources.append(Source(uri=uri, window=window, refusal=refusal, **said))
        lines.append(row.line)
    refuse(path, outside)
    told = unread(rows, names) + _repeated_ids(rows, names, again)
    return Listing(merged([(path, *pair) for pair in zip(lines, sources, strict=True)], again), told)


def said_by(row: Row, names: Mapping[str, str]) -> dict[str, str | None]:
    """What an entry says of its video, as attributes of a source; `names` are ours to the manifest's."""
    return {ours: _text(row.values.get(theirs)) for ours, theirs in names.items() if ours in _SAID}


def entry_of(path: Path | ObjectPath, line: int) -> str:
    """The key of an entry that names no file."""
    return f"{path if isinstance(path, ObjectPath) else address_of(path)}#line={line}"


def merged(entries: Sequence[tuple[Path, int, Source]], again: bool) -> list[Source]:
    """Inputs with a key each: several windows of a file are several, what is listed twice is refused.

    Args:
        entries: manifest, line and input.
        again: whether a repeated entry is expected, as long as it says nothing else.
    """
    first: dict[tuple, tuple[Path, int, Source]] = {}
    repeated = []
    for path, line, source in entries:
        before, where, known = first.setdefault((source.uri, source.window), (path, line, source))
        if known is source or (again and (known.label, known.window) == (source.label, source.window)):
            continue
        at = f"line {where}" if before == path else f"{before.name}, line {where}"
        differs = "" if known.label == source.label else f" as {known.label!r}, here as {source.label!r}"
        told = f"The entry lists {source.location!r}, which {at} lists already{differs}; the first counts."
        entry = entry_of(path, line)
        repeated.append(replace(source, uri=entry, window=None, refusal=Refusal("listed_twice", told)))
    windows: dict[str, int] = {}
    for uri, _ in first:
        windows[uri] = windows.get(uri, 0) + 1
    kept = [
        replace(source, uri=f"{uri}#{window}") if window and windows[uri] > 1 else source
        for (uri, window), (_, _, source) in first.items()
    ]
    return kept + repeated


def _repeated_ids(rows: Sequence[Row], names: Mapping[str, str], again: bool) -> list[str]:
    lines: dict[str, list[int]] = {}
    for row in rows:
        if (name := row.values.get(names.get("id", ""))) is not None:
            lines.setdefault(str(name), []).append(row.line)
    repeated = {name: at for name, at in lines.items() if len(at) > 1 and not again}
    return [f"the id {name!r} is used in lines {', '.join(map(str, at))}" for name, at in repeated.items()]


def _window(row: Row, names: Mapping[str, str], unit: str) -> tuple[str | None, Refusal | None]:
    start, end = (_text(row.values.get(names.get(name, ""))) for name in ("start", "end"))
    if start is None and end is None:
        return None, None
    try:
        window = Window(unit, _number(start, 0.0), _number(end, math.inf))
        return str(Window.parse(str(window))), None
    except ValueError:
        told = f"The entry's start {start!r} and end {end!r} are no window of {unit}."
        return None, Refusal("bad_window", told)


def _number(text: str | None, otherwise: float) -> float:
    """Seconds or frames: `2.5`, or a time such as `0:01:02.500`."""
    if text is None:
        return otherwise
    if not re.fullmatch(r"(\d+:)?[0-5]?\d:[0-5]?\d([.,]\d+)?", text):
        return float(text)
    seconds = 0.0
    for part in text.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _text(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None
