"""From a generated file back to what it comes from: model, snapshot, clips, terms.

What a file says of itself is a stranger's text: it is read without a decoder, bounded, and believed only as
far as the catalogue knows the same.
"""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open

from catalog.champions import Mark, Model, marks, models, trained_on
from catalog.errors import SnapshotMissing
from catalog.store import Catalog
from catalog.vocabulary import NO_LICENCE
from pipeline.errors import PipelineError
from training.release import shipped_model

# Bytes of what a file may say of itself, and boxes that are looked through for it.
_LONGEST, _MANY = 1 << 20, 10_000
# Where MP4 keeps the comment, from the outside in.
_COMMENT = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
_MADE = "make one with `video2lora generate` or `video2lora adapter predict`"


class NoOrigin(PipelineError):
    """A file that does not say what it comes from."""


@dataclass(frozen=True)
class Trace:
    """Where a file comes from.

    Attributes:
        facts: what it says of itself.
        model: that row of the catalogue; None where this catalogue does not know it.
        shipped: whether it is the model that comes with this project.
        mark: why the model should not be used any more.
        clips: how many clips it trained on.
        licences: of these, the most common first.
        categories: of these, the most common first.
        reference: the clip whose effect it shows, where it is one of the catalogue: its source and terms.
        adapter: whether the adapter predicted from it is stored.
        missing: why something of this is not known.
    """

    file: Path
    facts: Mapping[str, Any]
    model: Model | None = None
    shipped: bool = False
    mark: Mark | None = None
    clips: int = 0
    licences: Mapping[str, int] | None = None
    categories: Mapping[str, int] | None = None
    reference: Mapping[str, Any] | None = None
    adapter: bool = False
    missing: tuple[str, ...] = ()


def trace(catalog: Catalog, file: Path) -> Trace:
    """Where a generated video, a LoRA, an adapter or a model's tensor file comes from.

    Raises:
        NoOrigin: the file is not there, is of another kind, or does not say what it comes from.
    """
    facts = read_facts(file)
    model_id = facts["model_id"]
    known = {each.model_id: each for each in models(catalog)}
    if model_id not in known:
        shipped = model_id == shipped_model().model_id
        missing = () if shipped else (
            "This catalogue knows no model of that id: another one does, or the file says what is not so.",
        )  # fmt: skip
        return Trace(file, facts, shipped=shipped, missing=missing, **_reference(catalog, facts))
    model = known[model_id]
    mark = marks(catalog).get(model_id)
    try:
        rows = trained_on(catalog, model)
    except SnapshotMissing as error:
        return Trace(file, facts, model, mark=mark, missing=(str(error),), **_reference(catalog, facts))
    return Trace(
        file,
        facts,
        model,
        mark=mark,
        clips=len(rows),
        licences=_counted(row["licence"] or NO_LICENCE for row in rows),
        categories=_counted(row["category_id"] for row in rows),
        **_reference(catalog, facts),
    )


def read_facts(file: Path) -> dict[str, Any]:
    """What a file says of itself: an MP4's comment, a safetensors file's header.

    Raises:
        NoOrigin: see `trace`.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(12)
            text = _comment(opened) if start[4:8] == b"ftyp" else _header(file, start)
    except IsADirectoryError:
        raise NoOrigin(f"{file} is a folder; name one generated mp4 or safetensors file.") from None
    except OSError as error:
        raise NoOrigin(f"{file} cannot be read: {error.strerror}.") from error
    if text is None:
        raise NoOrigin(f"{file} does not say what it comes from; {_MADE}, which writes that into it.")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not isinstance(facts.get("model_id"), str):
        raise NoOrigin(f"{file} says something of itself, but not which model made it; {_MADE}.")
    return facts


def _header(file: Path, start: bytes) -> str | None:
    """What a safetensors file says; of a model's tensor file its id alone."""
    size = int.from_bytes(start[:8], "little")
    if len(start) < 10 or start[8:9] != b"{" or size > file.stat().st_size:
        raise NoOrigin(f"{file} is neither an mp4 nor a safetensors file, and only these are generated here.")
    try:
        with safe_open(file, framework="np") as opened:
            told = opened.metadata() or {}
    except SafetensorError as error:
        raise NoOrigin(f"{file} is no whole safetensors file ({error}).") from error
    if "video2lora" in told:
        return told["video2lora"]
    return json.dumps({"model_id": told["model_id"]}) if "model_id" in told else None


def _comment(file: BinaryIO) -> str | None:
    start, stop = 0, file.seek(0, 2)
    for name in _COMMENT:
        found = _box(file, start, stop, name)
        if found is None:
            return None
        start, stop = found
        start += {b"meta": 4, b"data": 8}.get(name, 0)  # version and flags; type and locale
    if not 0 < stop - start <= _LONGEST:
        return None
    file.seek(start)
    return file.read(stop - start).decode("utf-8", "replace")


def _box(file: BinaryIO, start: int, stop: int, name: bytes) -> tuple[int, int] | None:
    """Where the content of the first box of that name begins and ends, between two places of a file."""
    for _ in range(_MANY):
        if start + 8 > stop:
            return None
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1 and start + 16 <= stop:
            size, header = int.from_bytes(file.read(8), "big"), 16
        elif size == 0:
            size = stop - start
        if size < header or start + size > stop:
            return None
        if kind == name:
            return start + header, start + size
        start += size
    return None


def _reference(catalog: Catalog, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the catalogue knows of the reference that a file names."""
    name = facts.get("reference")
    if not isinstance(name, str):
        return {}
    columns = [
        "clip_id",
        "category_id",
        "status",
        "reason",
        "source",
        "source_uri",
        "licence",
        "licence_evidence",
    ]
    rows = catalog.get("clips", [name], columns).to_pylist()
    stored = catalog.get("adapters", [name], ["model_id"])["model_id"].to_pylist()
    return {"reference": rows[0] if rows else None, "adapter": facts["model_id"] in stored}


def _counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())
