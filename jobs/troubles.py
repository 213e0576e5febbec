"""Troubles of the machine that a command runs on, as sentences: a full disk, a folder of somebody else."""

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from jobs.errors import JobError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = {errno.EACCES: "may not be used by this user", errno.EROFS: "lies on a read-only disk"}
_FORBIDDEN[errno.EPERM] = _FORBIDDEN[errno.EACCES]
# Lance says it in its errors' text only, of an object in a bucket.
_REFUSED = re.compile(r"lacked the necessary privileges to complete for path ([^\s:]+)")
_AWAY = re.compile(r"Generic S3 error")


class UnusableFolder(JobError):
    """A folder that cannot be made or written to."""


class NoTemporaryFolder(JobError):
    """TMPDIR names a folder that cannot be used."""


def prepare(environment: MutableMapping[str, str]) -> str | None:
    """Do without a home where it cannot be written to; a sentence about it, for a person.

    Args:
        environment: of this process, which what it starts inherits.

    Raises:
        NoTemporaryFolder: TMPDIR names a folder that is missing or not writable, and Lance, Ray and ffmpeg
            all need one.
    """
    temporary = environment.get("TMPDIR") or "/tmp"
    if not can_write(Path(temporary)):
        raise NoTemporaryFolder(
            f"Temporary files need a folder, and {temporary} is missing or cannot be written to; "
            "name another one in TMPDIR."
        )
    home = Path(environment.get("HOME") or "/")
    if can_write(home):
        return None
    instead = f"{temporary}/video2lora-{os.getuid()}"
    caches = ("VIDEO2LORA_CACHE", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR", "MPLCONFIGDIR")
    for name in caches:
        environment.setdefault(name, f"{instead}/{name.lower()}")
    # Ray keeps its token in ~/.ray, unless it is given one.
    environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    return f"HOME ({home}) cannot be written to; what is kept between runs goes to {instead}."


def can_write(folder: Path) -> bool:
    """Tried, not asked: permissions say nothing of a read-only disk, and nothing of what root may do."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def usable_folder(folder: Path, said: str) -> Path:
    """Make a folder and try it.

    Args:
        said: the option or argument that named it, for the sentence.

    Raises:
        UnusableFolder: it cannot be made, is a file, or cannot be written to.
    """
    probe = folder / f".video2lora-{id(folder):x}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UnusableFolder(
            f"{said} {folder} cannot be written to ({error.strerror}); name a folder of your own."
        ) from None
    return folder


def sentence(error: BaseException) -> str | None:
    """What the machine lacks, where that is what `error` comes from; None for everything else."""
    from training.objects import Faltered  # a second that a help text is not to wait for

    for each in _chain(error):
        if isinstance(each, Faltered):
            return f"{each} What was done is kept; the same command goes on."
        number = each.errno if isinstance(each, OSError) else None
        if refused := _REFUSED.search(str(each)):
            return (
                f"The bucket refuses access to {refused[1]!r}; check AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and what they may read and write. What was done is kept, and the same "
                "command goes on."
            )
        if _AWAY.search(str(each)):
            return (
                "The store of the bucket does not answer as it should; check AWS_ENDPOINT_URL. What was "
                "done is kept, and the same command goes on."
            )
        # Lance and Ray say it in their own errors' text only.
        if number in _FULL or "No space left on device" in str(each):
            where = f" of {each.filename}" if isinstance(each, OSError) and each.filename else ""
            return f"The disk{where} is full. What was done is kept; make room, and the same command goes on."
        if number in _FORBIDDEN and each.filename:
            return f"{each.filename} {_FORBIDDEN[number]}; name another place, or change its permissions."
        if number == errno.ENAMETOOLONG and each.filename:
            name = str(each.filename)
            return f"{name[:40]}… is no file: its name has {len(name)} characters, more than a disk takes."
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
