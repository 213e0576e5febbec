"""A working directory in a bucket: its address, and how a command line takes it."""

from pathlib import Path, PosixPath

from jobs.errors import JobError

_SCHEME = "s3://"


class NoBucketHere(JobError):
    """A command that works in a folder of this machine was given a bucket."""


class BucketDir(PosixPath):
    """The address of a working directory, s3://BUCKET/PREFIX; a path to those that only hand it on."""

    def __str__(self) -> str:
        return _SCHEME + super().__str__().removeprefix("s3:/")

    @property
    def uri(self) -> str:
        """Its address, without a slash at the end."""
        return str(self)

    @property
    def inside(self) -> Path:
        """Bucket and prefix, as a path below some folder."""
        return Path(*self.parts[1:])

    def absolute(self) -> "BucketDir":
        return self


def workdir_of(text: str | Path) -> Path:
    """A folder, or what is to be worked on in a bucket; a default comes as a path already.

    Raises:
        NoBucketHere: an address without a bucket, or with steps upwards.
    """
    if isinstance(text, Path) or not text.startswith(_SCHEME):
        return Path(text)
    place = BucketDir(text)
    if not place.inside.parts or ".." in place.inside.parts:
        raise NoBucketHere(f"--workdir {text} names no place in a bucket; as in s3://BUCKET/PREFIX.")
    return place


def require_folder(workdir: Path, what: str) -> None:
    """Refuse a bucket where files of this machine are needed.

    Raises:
        NoBucketHere: with what to do instead.
    """
    if isinstance(workdir, BucketDir):
        raise NoBucketHere(
            f"{what} needs a folder of this machine as --workdir; the catalogue of {workdir} is named with "
            f"`--catalog {workdir}/catalog`."
        )
