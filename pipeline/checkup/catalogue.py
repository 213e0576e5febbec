"""Whether a catalogue is whole, and what is due in it."""

from collections.abc import Iterator
from pathlib import Path

from lancedb.expr import col

from catalog.errors import CatalogError
from catalog.models import model_folder
from catalog.schema import SCHEMAS
from catalog.store import Catalog
from catalog.vocabulary import EventState
from pipeline.checkup.finding import Finding, Verdict

# Each is opened by every reader of the table.
_MANY_FILES = 500


def look_at_catalogue(catalog: Catalog, models: Path) -> Iterator[Finding]:
    """Tables, acts and models of a catalogue; nothing is changed.

    Args:
        models: the working directory's own folder of models.
    """
    rows, files, broken = {}, {}, []
    for name in SCHEMAS:
        try:
            dataset = catalog.tables.handle(name).to_lance()
            dataset.validate()  # type: ignore[no-untyped-call]
            rows[name], files[name] = catalog.count(name), len(dataset.get_fragments())
        except (CatalogError, OSError, RuntimeError, ValueError) as error:
            broken.append(f"{name}: {str(error).splitlines()[0][:150]}")
    if broken:
        yield Finding(
            "catalogue",
            Verdict.PROBLEM,
            f"{catalog.uri} is damaged: {'; '.join(broken)}.",
            "Restore it from a backup into another folder: `video2lora restore BACKUP -w NEW`.",
        )
        return
    yield Finding("catalogue", Verdict.OK, f"{rows['clips']} clips, {rows['models']} models in {catalog.uri}")
    most = max(files, key=lambda name: files[name])
    if files[most] > _MANY_FILES:
        yield Finding(
            "catalogue's files",
            Verdict.WARNING,
            f"Table {most} has {files[most]} files, which every reader opens.",
            "`video2lora maintain` merges them.",
        )
    begun = catalog.scan("events", ["event_id"], col("state") == EventState.BEGUN).num_rows
    if begun:
        yield Finding(
            "acts",
            Verdict.WARNING,
            f"{begun} acts were begun and are not done.",
            "The next command that writes completes them; nothing reads them half.",
        )
    yield from _models(catalog, models)


def _models(catalog: Catalog, models: Path) -> Iterator[Finding]:
    gone = []
    for row in catalog.scan("models", ["model_id", "path"]).to_pylist():
        if "://" in catalog.uri:
            break  # files of a bucket are fetched when they are needed
        try:
            model_folder(catalog, row["path"], models)
        except CatalogError:
            gone.append(row["model_id"])
    if gone:
        yield Finding(
            "models",
            Verdict.WARNING,
            f"The files of {len(gone)} models are gone, of {gone[0]} for one.",
            f"Copy their folders to {models}, or train again.",
        )
