"""What tells whether an input has changed, and whether two are the same."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import ray.data

from pipeline.sources.source import Source
from pipeline.workers.actors import MAX_BLOCKS

_CHUNK = 4 * 1024**2
_FILES_PER_TASK = 64


@dataclass(frozen=True)
class Stat:
    """Size in bytes and modification time in seconds of a file; both None where there is no file."""

    size: int | None
    mtime: float | None


def stat(uri: str) -> Stat:
    """What the file system says of an input, without opening it."""
    try:
        found = Path(uri).stat()
    except OSError:
        return Stat(None, None)
    return Stat(found.st_size, found.st_mtime)


def sha256_of(uri: str) -> str | None:
    """The SHA-256 of a file's bytes in hex, None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(uri).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _hash_batch(batch: pa.Table) -> pa.Table:
    uris = batch["uri"].to_pylist()
    hashes = pa.array([sha256_of(uri) for uri in uris], pa.string())
    return pa.table({"uri": batch["uri"], "sha256": hashes})


def hash_all(sources: Sequence[Source]) -> Iterable[tuple[str, str | None]]:
    """(uri, SHA-256 or None where unreadable) of every source, as Ray tasks finish, in no promised order."""
    if not sources:
        return
    size = max(_FILES_PER_TASK, -(-len(sources) // MAX_BLOCKS))
    uris = [source.uri for source in sources]
    parts = [pa.table({"uri": uris[at : at + size]}) for at in range(0, len(uris), size)]
    hashed = ray.data.from_arrow(parts).map_batches(
        _hash_batch, batch_format="pyarrow", batch_size=_FILES_PER_TASK, num_cpus=1
    )
    hashed.context.enable_progress_bars = False
    for table in hashed.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from zip(table["uri"].to_pylist(), table["sha256"].to_pylist(), strict=True)
