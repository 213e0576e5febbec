"""Lists of videos in a file: CSV, JSON, JSON lines and Parquet, read as rows that know their line."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadManifest
from pipeline.sources.source import Source
from pipeline.video.plan import Window

SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson", ".parquet"})

# The field's names for what we call path, label, caption, …; the first that a manifest has counts.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": (
        "file_path",
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


@dataclass(frozen=True)
class Row:
    """One entry of a manifest and the line (Parquet: the row) it begins on, counted from 1."""

    line: int
    values: dict


def read_rows(path: Path) -> list[Row]:
    """Every entry of a manifest.

    Raises:
        BadManifest: not UTF-8, not what its suffix says, or not a list of entries.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return list(_parquet(path))
    text = read_text(path)
    if suffix == ".csv":
        return list(_csv(path, text))
    return list(_json(path, text) if suffix == ".json" else _json_lines(path, text))


def read_text(path: Path) -> str:
    """A manifest's text, which is UTF-8.

    Raises:
        BadManifest: it is not, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadManifest(f"The manifest {str(path)!r} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadManifest(f"{path}, line {line}: not UTF-8. Save the manifest as UTF-8.") from error


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(header):
                raise BadManifest(
                    f"{path}, line {line}: {len(cells)} columns where the header has {len(header)}."
                )
            if cells:
                yield Row(line, dict(zip(header, cells, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadManifest(f"{path}, line {reader.line_num}: not CSV ({error}).") from error


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Row(number, _entry(path, number, _parsed(path, line, number)))


def _parsed(path: Path, text: str, line: int):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{path}, line {line}: not JSON ({error}).") from error


def _json(path: Path, text: str) -> Iterator[Row]:
    """A list of objects; an object of objects counts as the list of its values."""
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "{":
        whole = _parsed(path, text, 1)
        entries = next((value for value in whole.values() if isinstance(value, list)), None)
        if entries is None:
            entries = [{"id": key} | value for key, value in whole.items() if isinstance(value, dict)]
        if not entries:
            raise BadManifest(f"{path}, line 1: an object without a list of videos.")
        for entry in entries:
            yield Row(1, _entry(path, 1, entry))
        return
    if text[start : start + 1] != "[":
        raise BadManifest(f"{path}, line 1: not a JSON list.")
    decoder, at, line, seen = json.JSONDecoder(), start + 1, 1, 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line += text.count("\n", seen, at)
        seen = at
        if text[at : at + 1] == "]":
            return
        try:
            entry, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise BadManifest(f"{path}, line {line}: not JSON ({error}).") from error
        yield Row(line, _entry(path, line, entry))


def _entry(path: Path, line: int, entry: object) -> dict:
    if not isinstance(entry, dict):
        raise BadManifest(f"{path}, line {line}: not an object with the columns of a video.")
    return entry


def _parquet(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except (pa.ArrowException, OSError) as error:
        said = str(error).rstrip(".")
        raise BadManifest(f"The manifest {str(path)!r} is not Parquet: {said}.") from error
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(number, values)


def resolve_columns(path: Path, rows: Sequence[Row], given: Mapping[str, str] | None) -> dict[str, str]:
    """Our name to the manifest's name of each column it has.

    Raises:
        BadManifest: no column of paths, or a given name that the manifest lacks.
    """
    present = dict.fromkeys(name for row in rows for name in row.values)
    listed = ", ".join(map(repr, present))
    resolved = {}
    for ours, theirs in (given or {}).items():
        if ours not in COLUMNS:
            raise BadManifest(f"No column of ours is called {ours!r}; there are {', '.join(COLUMNS)}.")
        if theirs not in present:
            raise BadManifest(f"{path}, line 1: no column {theirs!r} for {ours}; its columns are {listed}.")
        resolved[ours] = theirs
    for ours, names in COLUMNS.items():
        known = next((name for name in names if name in present), None)
        if known is not None:
            resolved.setdefault(ours, known)
    if "path" not in resolved:
        raise BadManifest(
            f"{path}, line 1: no column names the files; its columns are {listed or 'none'}. "
            "Say which with a column map, for example path=video_file."
        )
    return resolved


def locate(path: Path, line: int, root: Path, named: object) -> Path:
    """The file an entry names, below `root`.

    Raises:
        BadManifest: no name, a name that leaves `root`, or no such file.
    """
    if not isinstance(named, str) or not named.strip():
        raise BadManifest(f"{path}, line {line}: no file is named.")
    top = root.resolve()
    try:
        file = (top / named.strip()).resolve()
        there = file.is_file()
    except (OSError, ValueError) as error:  # too long, a null byte, half a surrogate pair
        raise BadManifest(f"{path}, line {line}: {named[:100]!r} is no name of a file.") from error
    if not file.is_relative_to(top):
        raise BadManifest(
            f"{path}, line {line}: {named!r} leads outside {str(top)!r}; "
            "put the manifest into a folder above its videos."
        )
    if not there:
        raise BadManifest(f"{path}, line {line}: there is no file {named!r} below {str(top)!r}.")
    return file


def to_sources(
    path: Path,
    rows: Sequence[Row],
    columns: Mapping[str, str] | None,
    root: Path | None,
    again: bool = False,
    unit: str = "seconds",
) -> list[Source]:
    """One source per entry.

    Args:
        root: where relative paths start and which no path may leave; the manifest's folder by default.
        again: whether a file may be listed again (a list of pairs); its first entry counts.
        unit: what the columns of a window count, `seconds` or `frames`.

    Raises:
        BadManifest: the first entry that cannot be used, with its line.
    """
    names = resolve_columns(path, rows, columns) if rows else {}
    seen: dict[str, int] = {}
    ids: dict[str, int] = {}
    sources = []
    for row in rows:
        file = locate(path, row.line, root or path.parent, row.values.get(names["path"])).as_posix()
        if file in seen:
            if again:
                continue
            raise BadManifest(f"{path}, line {row.line}: {file!r} is listed in line {seen[file]} already.")
        seen[file] = row.line
        name = row.values.get(names.get("id", ""))
        if name is not None and not again and ids.setdefault(str(name), row.line) != row.line:
            raise BadManifest(
                f"{path}, line {row.line}: the id {name!r} is used in line {ids[str(name)]} already."
            )
        said = {ours: _text(row.values.get(theirs)) for ours, theirs in names.items() if ours in _SAID}
        window = _window(path, row, names, unit)
        sources.append(Source(uri=file, window=window, **said))
    return sources


def _window(path: Path, row: Row, names: Mapping[str, str], unit: str) -> str | None:
    start, end = (_text(row.values.get(names.get(name, ""))) for name in ("start", "end"))
    if end is None:
        return None
    try:
        window = Window(unit, float(start or 0), float(end))
        return str(Window.parse(str(window)))
    except ValueError as error:
        raise BadManifest(
            f"{path}, line {row.line}: start {start!r} and end {end!r} are no window of {unit}."
        ) from error


def _text(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None
