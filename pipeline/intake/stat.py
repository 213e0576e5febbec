"""What tells whether an input has changed, and whether two are the same."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from pipeline.sources import objects
from pipeline.sources.addresses import path_of
from pipeline.sources.members import member_at
from pipeline.sources.source import Refusal

_CHUNK = 4 * 1024**2
_FILES_PER_TASK = 64
# Requests for etags under way at a time.
_AT_ONCE = 32


@dataclass(frozen=True)
class Stat:
    """Size in bytes, modification time in seconds, etag; a file has the first two, an object of S3 the first
    and the last, and what is not there has none."""

    size: int | None = None
    mtime: float | None = None
    etag: str | None = None


def stat(uri: str, endpoint: str | None = None) -> Stat:
    """What the file system or the store says of an input, without opening it."""
    try:
        if objects.is_object(uri):
            size, etag = objects.head(uri, endpoint)
            return Stat(size, None, etag)
        if (member := member_at(uri)) is not None:
            return Stat(*member.told())
        found = path_of(uri).stat()
    except OSError:
        return Stat()
    return Stat(found.st_size, found.st_mtime)


def stat_all(uris: Sequence[str], endpoint: str | None = None) -> list[Stat]:
    """`stat` of each, in order; a store is asked for many at a time."""
    if not any(map(objects.is_object, uris)):
        return [stat(uri) for uri in uris]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(partial(stat, endpoint=endpoint), uris))


class Hashed(NamedTuple):
    """The SHA-256 of a file's bytes in hex, or what kept them from being read."""

    location: str
    sha256: str | None
    refusal: Refusal | None = None


def hashed(location: str, endpoint: str | None = None) -> Hashed:
    """Hash a file or an object."""
    digest = hashlib.sha256()
    try:
        for chunk in objects.chunks(location, endpoint) if objects.is_object(location) else _chunks(location):
            digest.update(chunk)
    except OSError as error:
        return Hashed(location, None, not_read(error))
    return Hashed(location, digest.hexdigest())


def not_read(error: OSError) -> Refusal:
    """Why a file could not be read: a fault of the moment, and no verdict about the file."""
    if isinstance(error, objects.ObjectError):
        return Refusal("missing" if error.missing else "unreachable", str(error))
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Refusal("missing", "There is no such file now.")
    if isinstance(error, PermissionError):
        return Refusal("no_permission", "The file may not be read; let this user read it and run again.")
    return Refusal("unreadable", f"Reading the file failed: {(error.strerror or str(error)).lower()}.")


def _chunks(location: str) -> Iterator[bytes]:
    if (member := member_at(location)) is not None:
        yield from member.identity()
        return
    with path_of(location).open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _hash_batch(batch: pa.Table, endpoint: str | None) -> pa.Table:
    found = [hashed(location, endpoint) for location in batch["location"].to_pylist()]
    rows = [(one.location, one.sha256, *(one.refusal or (None, None))) for one in found]
    return pa.Table.from_arrays(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)],
        names=["location", "sha256", "code", "reason"],
    )


def hash_all(locations: Iterable[str], endpoint: str | None = None) -> Iterator[Hashed]:
    """Every file hashed once, as Ray tasks finish, in no promised order."""
    locations = list(dict.fromkeys(locations))
    if not locations:
        return
    # Where nothing is new, nothing is hashed, and Ray is not even loaded.
    import ray.data

    from pipeline.workers.actors import MAX_BLOCKS

    size = max(_FILES_PER_TASK, -(-len(locations) // MAX_BLOCKS))
    parts = [pa.table({"location": locations[at : at + size]}) for at in range(0, len(locations), size)]
    rows = ray.data.from_arrow(parts).map_batches(
        _hash_batch,
        fn_kwargs={"endpoint": endpoint},
        batch_format="pyarrow",
        batch_size=_FILES_PER_TASK,
        num_cpus=1,
    )
    rows.context.enable_progress_bars = False
    for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in table.to_pylist():
            refusal = Refusal(row["code"], row["reason"]) if row["code"] else None
            yield Hashed(row["location"], row["sha256"], refusal)
