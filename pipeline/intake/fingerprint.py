"""What tells whether an input has changed, and whether two are the same."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray.data

from pipeline.sources import objects
from pipeline.sources.source import Source
from pipeline.workers.actors import MAX_BLOCKS

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
        found = Path(uri).stat()
    except OSError:
        return Stat()
    return Stat(found.st_size, found.st_mtime)


def stat_all(uris: Sequence[str], endpoint: str | None = None) -> list[Stat]:
    """`stat` of each, in order; a store is asked for many at a time."""
    if not any(map(objects.is_object, uris)):
        return [stat(uri) for uri in uris]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(partial(stat, endpoint=endpoint), uris))


def sha256_of(uri: str, endpoint: str | None = None) -> str | None:
    """The SHA-256 of an input's bytes in hex, None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        for chunk in objects.chunks(uri, endpoint) if objects.is_object(uri) else _chunks(uri):
            digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _chunks(uri: str) -> Iterator[bytes]:
    with Path(uri).open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _hash_batch(batch: pa.Table, endpoint: str | None) -> pa.Table:
    uris = batch["uri"].to_pylist()
    hashes = pa.array([sha256_of(uri, endpoint) for uri in uris], pa.string())
    return pa.table({"uri": batch["uri"], "sha256": hashes})


def hash_all(sources: Sequence[Source], endpoint: str | None = None) -> Iterable[tuple[str, str | None]]:
    """(uri, SHA-256 or None where unreadable) of every source, as Ray tasks finish, in no promised order."""
    if not sources:
        return
    size = max(_FILES_PER_TASK, -(-len(sources) // MAX_BLOCKS))
    uris = [source.uri for source in sources]
    parts = [pa.table({"uri": uris[at : at + size]}) for at in range(0, len(uris), size)]
    hashed = ray.data.from_arrow(parts).map_batches(
        _hash_batch,
        fn_kwargs={"endpoint": endpoint},
        batch_format="pyarrow",
        batch_size=_FILES_PER_TASK,
        num_cpus=1,
    )
    hashed.context.enable_progress_bars = False
    for table in hashed.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from zip(table["uri"].to_pylist(), table["sha256"].to_pylist(), strict=True)
