"""Captions in text files beside the videos: `a.txt` for `a.mp4`, as most trainers of LoRAs take them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.sources.addresses import address_of, path_of
from pipeline.sources.objects import ObjectPath, is_object
from pipeline.sources.source import Skipped, Source

# Longer than any caption: some other text of that name.
_LONGEST = 1024**2


def with_captions(
    sources: Sequence[Source], endpoint: ObjectPath | None = None
) -> tuple[list[Source], int, list[Skipped]]:
    """The sources with the captions that lie beside them, how many, and the text files that are none.

    Args:
        endpoint: for sources in S3, the place whose listing says what lies there.
    """
    told, count, skipped = [], 0, []
    for source in sources:
        file = None if source.caption or source.refusal else _beside(source, endpoint)
        if file is not None:
            try:
                caption = _caption(file)
            except (OSError, ValueError, PipelineError) as error:
                where = str(file) if isinstance(file, ObjectPath) else address_of(file)
                skipped.append(Skipped(where, f"no caption: {str(error).rstrip('.')}"))
            else:
                source = replace(source, caption=caption)
                count += caption is not None
        told.append(source)
    return told, count, skipped


def _beside(source: Source, listed: ObjectPath | None) -> Path | ObjectPath | None:
    if is_object(source.location):
        if listed is None:
            return None
        file = ObjectPath(source.location.rpartition(".")[0] + ".txt", store=listed.store)
        return file if file.is_file() else None
    file = path_of(source.location)
    beside = file.with_suffix(".txt")
    try:
        return beside if beside != file and beside.is_file() else None
    except OSError:
        return None


def _caption(file: Path | ObjectPath) -> str | None:
    data = file.read_bytes()
    if len(data) > _LONGEST:
        raise ValueError(f"it has {len(data)} bytes")
    try:
        return data.decode("utf-8-sig").strip() or None
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
