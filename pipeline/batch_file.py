"""A list of clips to make, as a CSV or JSONL file: every line looked at before the first clip is begun."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from catalog.store import Catalog
from pipeline.adapters import parse_weighted
from pipeline.errors import PipelineError
from pipeline.example import is_there
from training.settings import GenerateSettings

LARGEST = 64 * 2**20  # bytes
NEEDED = ("first_frame", "prompt")
OPTIONAL = ("reference", "adapter", "output", "polish")
SETTINGS = (
    "seed",
    "steps",
    "guidance",
    "strength",
    "adapter_guidance",
    "dynamic_guidance",
    "negative_prompt",
)
COLUMNS = (*NEEDED, *OPTIONAL, *SETTINGS)


class BadBatchFile(PipelineError):
    """A list of clips that cannot be worked off as it stands; the message has its line."""


@dataclass(frozen=True)
class Wanted:
    """One clip that is asked for.

    Attributes:
        line: of the file, from 1.
        effects: by name: a file or clip_id, its weight, and whether it is an adapter's file.
        output: the mp4, under the batch's folder.
        settings: of all of `GenerateSettings`.
        digest: of all that the clip depends on, files by size and time; what is there with it is not made
            again.
    """

    line: int
    effects: tuple[tuple[str, float, bool], ...]
    first_frame: str
    prompt: str
    output: Path
    settings: GenerateSettings
    digest: str

    def files(self) -> list[str]:
        """The files that are read for it; what is none is a clip of the catalogue."""
        return [name for name in (*(name for name, _, _ in self.effects), self.first_frame) if is_there(name)]

    def anywhere(self) -> "Wanted":
        """The same, its files named so that a process with another working directory finds them."""
        effects = [(_absolute(name), weight, adapter) for name, weight, adapter in self.effects]
        first, output = _absolute(self.first_frame), self.output.absolute()
        return replace(self, effects=tuple(effects), first_frame=first, output=output)

    @property
    def steps(self) -> int:
        """Of polish and denoising."""
        return self.settings.polish.steps + self.settings.steps


def read_batch(
    path: Path, folder: Path, catalog: Catalog, settings: GenerateSettings, model_id: str
) -> list[Wanted]:
    """The clips that a file asks for.

    A line has `first_frame`, `prompt`, and `reference` or `adapter` (several: a list in JSONL, separated by
    ";" in CSV; with weights as "melt.mp4=0.7"). It may have `output`, `polish` and settings of sampling; what
    is empty is as the settings say. Files are named from the folder of the list.

    Args:
        folder: of the outputs.
        settings: where a line says nothing.
        model_id: of the model that will make them.

    Raises:
        BadBatchFile: no such file, a column that is missing or unknown, a value that cannot be, a file or
            clip that is not there, one output for two lines.
    """
    lines = _lines(path)
    if not lines:
        raise BadBatchFile(
            f"{path} asks for no clip: each line is one, with {', '.join(NEEDED)} and reference."
        )
    wanted = [_wanted(path, line, row, folder, catalog, settings, model_id) for line, row in lines]
    places: dict[Path, int] = {}
    for each in wanted:
        first = places.setdefault(each.output, each.line)
        if first != each.line:
            raise BadBatchFile(
                f"{path}, lines {first} and {each.line}: both would write {each.output}. Give them different"
                " `output`, or leave one of them out."
            )
    return wanted


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        if path.stat().st_size > LARGEST:
            raise BadBatchFile(f"{path} is larger than {LARGEST // 2**20} MB: split it.")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadBatchFile(f"{path} cannot be read: {error.strerror}. Name a .csv or .jsonl file.") from error
    except UnicodeDecodeError as error:
        raise BadBatchFile(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    if path.suffix.lower() == ".csv":
        return _csv(path, text)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _jsonl(path, text)
    raise BadBatchFile(f"{path} is neither .csv nor .jsonl; a line of either is one clip.")


def _csv(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        _require_columns(path, names)
        reader.fieldnames = names
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise BadBatchFile(
                    f"{path}, line {reader.line_num}: it has more or fewer cells than the {len(names)}"
                    " columns."
                )
            if any(value.strip() for value in row.values()):
                rows.append((reader.line_num, {name: value for name, value in row.items() if value.strip()}))
        return rows
    except csv.Error as error:
        raise BadBatchFile(f"{path}, line {reader.line_num}: {error}.") from error


def _jsonl(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadBatchFile(f"{path}, line {number} is no JSON: {error}.") from error
        if not isinstance(row, dict):
            raise BadBatchFile(f"{path}, line {number} is no JSON object; write {{'first_frame': …}}.")
        _require_columns(path, list(row), number)
        row = {name: value for name, value in row.items() if value is not None and value != ""}
        rows.append((number, row))
    return rows


def _require_columns(path: Path, names: Sequence[str], line: int | None = None) -> None:
    at = f"{path}, line {line}" if line else str(path)
    if unknown := [name for name in names if name not in COLUMNS]:
        raise BadBatchFile(
            f"{at} has a column {unknown[0]!r}, which means nothing; known are {', '.join(COLUMNS)}."
        )
    missing = [name for name in NEEDED if name not in names]
    if not {"reference", "adapter"} & set(names):
        missing.append("reference")
    if missing:
        raise BadBatchFile(
            f"{at} has no column {missing[0]!r}; each clip needs {', '.join(NEEDED)} and reference."
        )


def _wanted(
    path: Path,
    line: int,
    row: dict[str, Any],
    folder: Path,
    catalog: Catalog,
    settings: GenerateSettings,
    model_id: str,
) -> Wanted:
    def bad(said: str) -> BadBatchFile:
        return BadBatchFile(f"{path}, line {line}: {said}")

    for name in NEEDED:
        if not isinstance(row.get(name, "" if name == "prompt" else None), str):
            raise bad(f"{name!r} is missing, or is no text.")
    effects = []
    for column in ("reference", "adapter"):
        for text in _names(row.get(column, [])):
            if not isinstance(text, str):
                raise bad(f"{column!r} names files or clips, and {text!r} is no text.")
            try:
                name, weight = parse_weighted(catalog, _here(path, text))
            except PipelineError as error:
                raise bad(str(error)) from error
            effects.append((_known(bad, catalog, column, name), weight, column == "adapter"))
    if not effects:
        raise bad("it names no reference and no adapter.")
    weights = [weight for _, weight, _ in effects]
    if None in weights and any(weight is not None for weight in weights):
        raise bad("some of its references have a weight, and some have none.")
    shared = tuple((n, 1 / len(effects) if w is None else w, adapter) for n, w, adapter in effects)
    first_frame = _known(bad, catalog, "first_frame", _here(path, row["first_frame"]))
    chosen = _settings(bad, row, settings)
    stamps = [_stamp(name) for name, _, _ in shared] + [_stamp(first_frame)]
    whole = [shared, first_frame, row.get("prompt", ""), chosen.model_dump(mode="json"), model_id, stamps]
    digest = hashlib.sha256(json.dumps(whole).encode(errors="surrogateescape")).hexdigest()[:16]
    output = _output(
        bad, row.get("output"), folder, f"{_slug(shared[0][0])}--{_slug(first_frame)}-{digest[:8]}.mp4"
    )
    return Wanted(line, shared, first_frame, row.get("prompt", ""), output, chosen, digest)


def _names(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(";") if part.strip()]
    return value if isinstance(value, list) else [value]


def _here(path: Path, name: str) -> str:
    """A file of the list's own folder by its path, and any other name as it is."""
    beside = str(path.parent / name)
    file = beside.rpartition("=")[0] if not is_there(beside) else beside
    return beside if is_there(file) else name


def _known(bad, catalog: Catalog, column: str, name: str) -> str:
    if not is_there(name) and (column == "adapter" or not catalog.get("clips", [name], ["clip_id"]).num_rows):
        kinds = "no file" if column == "adapter" else "neither a file nor a clip_id"
        raise bad(f"{column} {name[:100]!r} is {kinds}.")
    return name


def _settings(bad, row: dict[str, Any], settings: GenerateSettings) -> GenerateSettings:
    values = {name: row[name] for name in SETTINGS if name in row}
    polish = settings.polish.model_dump() | ({"steps": row["polish"]} if "polish" in row else {})
    try:
        return GenerateSettings.model_validate(settings.model_dump() | values | {"polish": polish})
    except ValidationError as error:
        first = error.errors()[0]
        name = "polish" if first["loc"][0] == "polish" else first["loc"][0]
        raise bad(f"{name} {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}.") from None


def _output(bad, name: Any, folder: Path, default: str) -> Path:
    if name is None:
        return folder / default
    if not isinstance(name, str) or "\0" in name:
        raise bad(f"output {name!r} is no file's name.")
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or parts.suffix.lower() != ".mp4" or len(parts.name) > 200:
        raise bad(f"output {name[:100]!r} should be an .mp4 inside {folder}, as in melt/mug.mp4.")
    return folder / parts


def _stamp(name: str) -> list[float]:
    """Size and time of a file; a clip never changes."""
    if not is_there(name):
        return []
    found = Path(name).stat()
    return [found.st_size, found.st_mtime_ns]


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if is_there(name) else name


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:32] or "clip"
