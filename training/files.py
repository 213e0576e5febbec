"""Files that appear whole or not at all."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write to; what lies there afterwards takes the name `path` at once, on disk and readable.

    A reader sees the old file or the new one, and a writer that fails leaves the old one. (Some writers make
    files that only their owner may read: the permissions are those of any other new file.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:100]}-{uuid.uuid4().hex}")
    try:
        partial.touch()
        usual = stat.S_IMODE(partial.stat().st_mode)
        yield partial
        partial.chmod(usual)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole by text (UTF-8) or bytes."""
    with written(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def lora_beside(video: Path) -> Path:
    """Where the LoRA of a generated video lies."""
    return video.with_suffix(".lora.safetensors")
