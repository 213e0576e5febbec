"""A copy of a catalogue that others write to meanwhile: whole, between two acts, with all its snapshots.

Lance never changes a file that is there, and a version's file is written after those it names. So the files
of versions are copied first and everything else after them: whatever a copied version names was there, and is
copied too. Tables are copied one after another; in the copy each goes back to the version that one snapshot
of the catalogue names, so that none is ahead of another. A backup is a catalogue like any other.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pyarrow import fs

from catalog.errors import BadBackup, SnapshotMissing
from catalog.models import store_of
from catalog.snapshot import Snapshot
from catalog.store import Catalog

_FIRST = ("_versions", "_refs", "_transactions")


@dataclass(frozen=True)
class Backup:
    """A copy: where it is, its files, their bytes, and rows by table."""

    path: Path
    files: int
    bytes: int
    rows: dict[str, int]


def backup(catalog: Catalog, target: Path) -> Backup:
    """Copy a catalogue into a folder on this machine, as it is at this moment.

    The folders of models that lie beside a catalogue on this machine are not part of it.

    Args:
        catalog: on this machine or in a bucket; others may write to it.
        target: the folder to make.

    Raises:
        BadBackup: the folder is there already, or lies in the catalogue.
        WriteConflict: an act stays half done.
    """
    target = _free(target, catalog)
    named = catalog.snapshot()
    building = target.with_name(f".{target.name}-{uuid4().hex[:8]}.partial")
    try:
        files, size = _copied(catalog, building)
        rows = _set_back(Catalog.open(building), named)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Backup(target, files, size, rows)


def restore_backup(source: Path, target: Path) -> Backup:
    """Make a catalogue of a backup; the backup stays as it is.

    Raises:
        BadBackup: the folder is there already.
        CatalogNotFound: there is no backup at that place.
    """
    return backup(Catalog.open(source), target)


def _free(target: Path, catalog: Catalog) -> Path:
    target = target.expanduser().absolute()
    if "://" not in catalog.uri and target.is_relative_to(Path(catalog.uri)):
        raise BadBackup(f"{target} lies in the catalogue that is copied; name a folder elsewhere.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadBackup(f"{target} is there already; name a folder that is not.")
    if target.exists():
        target.rmdir()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadBackup(f"{target} cannot be made: {error.strerror}.") from error
    return target


def _copied(catalog: Catalog, target: Path) -> tuple[int, int]:
    """How many files were copied, and their bytes."""
    store, top = store_of(catalog)
    count = size = 0
    for early in (True, False):
        # Listed twice: what the versions name may have been written after a first look.
        for info in store.get_file_info(fs.FileSelector(top, recursive=True)):
            path = info.path[len(top) :].lstrip("/")
            first = any(part in _FIRST for part in Path(path).parts)
            if info.type is not fs.FileType.File or first is not early:
                continue
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                with store.open_input_stream(info.path) as given, copy.open("wb") as taken:
                    shutil.copyfileobj(given, taken)
            except FileNotFoundError:  # cleaned up meanwhile: no version that is kept names it
                copy.unlink(missing_ok=True)
                continue
            count, size = count + 1, size + (info.size or 0)
    return count, size


def _set_back(copy: Catalog, named: Snapshot) -> dict[str, int]:
    """Leave every table of a copy at the version that is named; its rows by table."""
    rows = {}
    for name, version in named.versions.items():
        table = copy.tables.handle(name)
        if table.version != version:
            try:
                table.checkout(version)
            except (RuntimeError, ValueError) as error:
                raise SnapshotMissing(f"Version {version} of table {name!r} is not in the copy.") from error
            table.restore()
        copy.tables.handle(name).to_lance().validate()  # type: ignore[no-untyped-call]
        rows[name] = copy.count(name)
    return rows
