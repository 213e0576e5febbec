"""An export: a snapshot's clips through the gate into a folder that is there whole or not at all."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from catalog.hints import nearest
from catalog.search import clip_filter
from catalog.store import Catalog
from catalog.vocabulary import Split
from pipeline.errors import PipelineError
from pipeline.export.atlas import atlas
from pipeline.export.formats import FORMATS, Format
from pipeline.export.rows import exported
from training.progress import Progress

_BATCH = 64


class BadExport(PipelineError):
    """An export that cannot be written as asked."""


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and how.

    Attributes:
        format: one of `FORMATS`.
        where: a filter over clips.
        licences: only clips of these terms; None takes all, an unstated one is named "unknown".
        splits: only these; None takes all, or what trains where the format is a trainer's.
        layout: whether coordinates and neighbours stand beside the rows (of `parquet`).
    """

    format: str
    where: str | None = None
    licences: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    layout: bool = False


@dataclass
class ExportReport:
    """What was written, and how many clips each reason kept out."""

    path: Path
    clips: int
    categories: int
    left_out: dict[str, int] = field(default_factory=dict)


def export(
    catalog: Catalog, target: Path, settings: ExportSettings, progress: Progress | None = None
) -> ExportReport:
    """Write accepted clips as a data set.

    Args:
        catalog: a view of a snapshot.
        target: the folder to make; it must not be there, or be empty.

    Raises:
        BadExport: an unknown format, a split that cannot be exported for training, a folder that is not
            empty, nothing that passes.
        BadFilter: the filter cannot be read.
        NoVectors: a layout of clips none of which is embedded.
    """
    kind, splits = _checked(settings, target)
    where = clip_filter(catalog, settings.where) if settings.where else None
    found = exported(catalog, where, settings.licences, splits, kind.trains)
    if not found.rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise BadExport(f"No clip passes{f'; left out: {reasons}' if reasons else ''}. Nothing was written.")
    rows = [{"file_name": kind.file_of(row), **row} for row in found.rows]
    if settings.layout:
        laid = atlas(catalog, [row["clip_id"] for row in rows])
        if without := len(rows) - len(laid):
            found.left_out["without a vector"] = without
        rows = [row | laid[row["clip_id"]] for row in rows if row["clip_id"] in laid]
    building = target.with_name(f".{target.name}-{uuid4().hex[:8]}.partial")
    try:
        building.mkdir(parents=True)
        kind.write(building, rows, catalog.spec)
        videos = _videos(catalog, rows, progress)
        if kind.pack is not None:
            kind.pack(building, videos)
        else:
            (building / kind.folder).mkdir()
            for row, video in videos:
                (building / row["file_name"]).write_bytes(video)
        if target.exists():
            target.rmdir()
        building.rename(target)
    except FileNotFoundError as error:
        raise BadExport(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    categories = {row["category_id"] for row in rows} - {None}
    return ExportReport(target, len(rows), len(categories), found.left_out)


def _checked(settings: ExportSettings, target: Path) -> tuple[Format, tuple[str, ...] | None]:
    if settings.format not in FORMATS:
        raise BadExport(f"There is no format {settings.format!r}{nearest(settings.format, FORMATS)}.")
    kind, splits = FORMATS[settings.format], settings.splits
    for split in splits or ():
        if split not in list(Split):
            raise BadExport(f"{split!r} is no split; there are {', '.join(Split)}.")
    if kind.trains:
        splits = splits or (Split.TRAIN,)
        if Split.OOD in splits:
            raise BadExport(
                f"{settings.format} is what a trainer reads, and categories that are out of domain never "
                "enter a training; export them as parquet or huggingface."
            )
    if settings.layout and settings.format != "parquet":
        raise BadExport("Coordinates stand in a Parquet file; ask for the format parquet.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadExport(f"{target} is there already and is not empty; name another folder.")
    return kind, splits


def _videos(
    catalog: Catalog, rows: Sequence[dict], progress: Progress | None
) -> Iterator[tuple[dict, bytes]]:
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        found = catalog.videos([row["clip_id"] for row in batch])
        for row in batch:
            if row["clip_id"] not in found:
                raise BadExport(f"Clip {row['clip_id']} has no video in this catalogue; nothing was written.")
            yield row, found[row["clip_id"]]
        if progress:
            progress(min(start + _BATCH, len(rows)), len(rows), {})
