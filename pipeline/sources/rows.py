"""The entries of a manifest with their lines: CSV, JSON, JSON lines and Parquet."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadManifest

SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"})
_DELIMITERS = ",;\t|"
# Of several columns with bytes, as of a video and its mask, these hold the videos.
_OF_VIDEOS = frozenset({"video", "videos", "mp4", "video_bytes", "bytes", "data"})
# Of many mistakes these many are told at once.
_TOLD = 20
# Captions may be long; Python's own limit is 128 KiB a cell.
csv.field_size_limit(64 * 1024**2)


@dataclass(frozen=True)
class Row:
    """One entry of a manifest and the line (Parquet: the row) it begins on, counted from 1."""

    line: int
    values: dict


def read_rows(path: Path) -> list[Row]:
    """Every entry of a manifest.

    Raises:
        BadManifest: not UTF-8, not what its suffix says, or not a list of entries; all such lines at once.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return list(_parquet(path))
    text = read_text(path)
    wrong: list[tuple[int, str]] = []
    if suffix in (".csv", ".tsv"):
        rows = list(_csv(text, wrong))
    else:
        rows = list(_json(text, wrong) if suffix == ".json" else _json_lines(text, wrong))
    refuse(path, wrong)
    return rows


def refuse(path: Path, wrong: Sequence[tuple[int, str]]) -> None:
    """Raise BadManifest where any lines are wrong: (line, what is wrong with it)."""
    if wrong:
        told = "; ".join(f"line {line}: {what}" for line, what in wrong[:_TOLD])
        more = f"; and {len(wrong) - _TOLD} lines more" if len(wrong) > _TOLD else ""
        raise BadManifest(f"{path}, {told}{more}.")


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


def lines_of(text: str) -> list[str]:
    """The lines of a text as editors count them: other separators, such as U+2028, belong to a line."""
    return re.split(r"\r\n|\r|\n", text)


def plain(name: object) -> str:
    """A column's name as it is compared: without regard to case, blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", str(name).strip().casefold())


def _csv(text: str, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    delimiter = _delimiter(next((line for line in lines_of(text) if line.strip()), ""))
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=delimiter, skipinitialspace=True
    )
    try:
        header = next(reader, None)
        if header is None:
            return
        header = [name.strip() for name in header]
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(header):
                wrong.append((line, f"{len(cells)} columns where the header has {len(header)}"))
            elif cells:
                yield Row(line, dict(zip(header, (cell.strip() for cell in cells), strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        wrong.append((reader.line_num, f"not CSV ({error})"))


def _delimiter(header: str) -> str:
    """What separates the columns: the sign of which the header has most, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=bare.count)


def _json_lines(text: str, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        try:
            yield from _entry(number, json.loads(line), wrong)
        except (ValueError, RecursionError) as error:
            wrong.append((number, f"not JSON ({error})"))


def _json(text: str, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    """A list of objects; an object of objects counts as the list of its values."""
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "{":
        yield from _json_object(text, wrong)
        return
    if text[start : start + 1] != "[":
        wrong.append((1, "not a JSON list"))
        return
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
            wrong.append((line, f"not JSON ({error})"))
            return
        yield from _entry(line, entry, wrong)


def _json_object(text: str, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        wrong.append((1, f"not JSON ({error})"))
        return
    entries = next((value for value in whole.values() if isinstance(value, list)), None)
    if entries is None:
        entries = [{"id": key} | value for key, value in whole.items() if isinstance(value, dict)]
    if not entries:
        wrong.append((1, "an object without a list of videos"))
    for entry in entries:
        yield from _entry(1, entry, wrong)


def _entry(line: int, entry: object, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    if isinstance(entry, dict):
        yield Row(line, entry)
    else:
        wrong.append((line, "not an object with the columns of a video"))


def _parquet(path: Path) -> Iterator[Row]:
    try:
        data = pa.BufferReader(path.read_bytes())
        if (held := bytes_column(pq.read_schema(data))) is not None:
            raise BadManifest(
                f"{str(path)!r} holds the bytes of files, in its column {held!r}, where a list of files was "
                "expected; such a table is read from a local disk, and without `--layout`."
            )
        table = pq.read_table(data)
    except (pa.ArrowException, OSError) as error:
        said = str(error).rstrip(".")
        raise BadManifest(f"The manifest {str(path)!r} is not Parquet: {said}.") from error
    for number, values in enumerate(table.to_pylist(), start=1):
        yield Row(number, values)


def bytes_column(schema: pa.Schema) -> str | None:
    """The column that holds files and not their names, the likeliest of several; None where none does."""
    held = [column.name for column in schema if _holds_bytes(column.type)]
    return next((name for name in held if plain(name) in _OF_VIDEOS), held[0] if held else None)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column's values are binary, or Hugging Face's {bytes, path}."""
    if pa.types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return "bytes" in names and _holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
