"""Memory, disk and the right to write, against what a profile asks for."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa

from catalog.models import store_of
from catalog.store import Catalog
from pipeline.checkup.finding import Finding, Verdict
from training.run.devices import host_memory

_GB = 1e9
# Ray keeps what passes between workers in shared memory, and spills to the disk what does not fit.
_LEAST_SHARED = 0.5 * _GB
# Below these a run of hours would rather stop than end.
_LITTLE_DISK, _NO_DISK = 20 * _GB, 2 * _GB


def look_at_memory(worker_mb: int, free: int | None = None, whole: int | None = None) -> Finding:
    """Whether a worker that decodes fits.

    Args:
        worker_mb: `ingest.worker_memory_mb`.
        free, whole: bytes of this machine; None looks.
    """
    free = psutil.virtual_memory().available if free is None else free
    whole = host_memory() if whole is None else whole
    said = f"{free / _GB:.1f} of {whole / _GB:.1f} GB of memory are free"
    if whole < worker_mb * 2**20:
        return Finding(
            "memory",
            Verdict.PROBLEM,
            f"{said}, and a worker that decodes asks for {worker_mb} MB.",
            f"Ask for less: `--set ingest.worker_memory_mb={max(64, int(whole / 2**20 * 0.5))}`.",
        )
    if free < worker_mb * 2**20:
        return Finding(
            "memory",
            Verdict.WARNING,
            f"{said}, and a worker that decodes asks for {worker_mb} MB.",
            "End other work on this machine, or wait for it.",
        )
    return Finding("memory", Verdict.OK, said)


def look_at_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Whether Ray's object store finds shared memory, as it does not in a container that was given little."""
    if not folder.is_dir():
        return
    size = shutil.disk_usage(folder).total
    if size < _LEAST_SHARED:
        yield Finding(
            "shared memory",
            Verdict.WARNING,
            f"{folder} has {size / _GB:.2f} GB.",
            "Give the container more: `docker run --shm-size=4g`, or a Memory volume at /dev/shm.",
        )


def look_at_disk(folder: Path, free: int | None = None) -> Finding:
    """Whether there is room where work is kept.

    Args:
        folder: it, or the next one above that is there.
        free: bytes; None looks.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free if free is None else free
    said = f"{free / _GB:.1f} GB are free for {folder}"
    do = "Make room: `video2lora maintain` drops old versions; runs/ holds checkpoints of ended runs."
    if free < _NO_DISK:
        return Finding("disk", Verdict.PROBLEM, f"{said}.", do)
    if free < _LITTLE_DISK:
        return Finding("disk", Verdict.WARNING, f"{said}.", do)
    return Finding("disk", Verdict.OK, said)


def look_at_folder(folder: Path) -> Finding:
    """Whether this process may write there; tried, for permissions say nothing of a read-only disk."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    probe = there / f".video2lora-{uuid.uuid4().hex}.partial"
    try:
        probe.write_bytes(b"video2lora")
        probe.unlink()
    except OSError as error:
        return Finding(
            "working directory",
            Verdict.PROBLEM,
            f"{there} cannot be written to ({error.strerror}).",
            f"Name a folder of your own with --workdir, or give user {os.getuid()} the right to write there.",
        )
    return Finding("working directory", Verdict.OK, f"{folder} can be written to")


def look_at_bucket(catalog: Catalog) -> Finding:
    """Whether objects can be written, read and removed beside the catalogue's tables."""
    store, top = store_of(catalog)
    probe = f"{top}/.video2lora-{uuid.uuid4().hex}"
    try:
        with store.open_output_stream(probe) as given:
            given.write(b"video2lora")
        with store.open_input_stream(probe) as taken:
            same = taken.read() == b"video2lora"
        store.delete_file(probe)
    except (OSError, pa.ArrowException) as error:
        said = str(error).splitlines()[0].rstrip(".")[:200]
        return Finding(
            "bucket",
            Verdict.PROBLEM,
            f"{catalog.uri} does not take an object: {said}.",
            "Give the credentials of the environment the right to read, write and delete there.",
        )
    if not same:
        return Finding("bucket", Verdict.PROBLEM, f"{catalog.uri} gives back other bytes than were written.")
    return Finding("bucket", Verdict.OK, f"{catalog.uri} can be written to, read and cleared")
