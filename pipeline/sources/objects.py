"""Objects in S3 as ingestion looks at them: what lies below a prefix, an object's etag, its bytes.

Credentials and the region come from the environment, as for every tool of AWS; the endpoint of another store
from a setting or from `AWS_ENDPOINT_URL`. A key is never part of a local path: objects are opened by address.
"""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import BinaryIO

import pyarrow as pa
from pyarrow import fs

from pipeline.errors import BadSource
from training.objects import DENIED, SCHEME, connect, refusal

_CHUNK = 4 * 1024**2


class ObjectError(OSError):
    """What a store does not give; the message is a sentence. `missing`: it knows no such object."""

    def __init__(self, sentence: str, missing: bool = False):
        super().__init__(sentence)
        self.missing = missing

    def __reduce__(self):
        return type(self), (str(self), self.missing)


def is_object(location: object) -> bool:
    """Whether this is an address in S3."""
    return isinstance(location, ObjectPath) or str(location).startswith(SCHEME)


def head(uri: str, endpoint: str | None = None) -> tuple[int, str | None]:
    """Size in bytes and etag of an object, of which nothing is read.

    Raises:
        ObjectError: it is not there, may not be read, or the store does not answer.
    """
    with _stream(uri, endpoint) as stream:
        return stream.size(), _etag(stream)


def chunks(uri: str, endpoint: str | None = None) -> Iterator[bytes]:
    """An object's bytes, piece by piece.

    Raises:
        ObjectError: as `head`; also in the middle.
    """
    with _stream(uri, endpoint) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def download(uri: str, into: BinaryIO, endpoint: str | None = None) -> tuple[int, str | None]:
    """Copy an object into an open file; its size and etag as they were when its reading began.

    Raises:
        ObjectError: as `head`; also when it ends early.
    """
    with _stream(uri, endpoint) as stream:
        told = stream.size(), _etag(stream)
        while chunk := stream.read(_CHUNK):
            into.write(chunk)
        if into.tell() != told[0]:
            raise ObjectError(f"Of its {told[0]} bytes only {into.tell()} came.")
    into.flush()
    into.seek(0)
    return told


def _etag(stream: pa.NativeFile) -> str | None:
    value = stream.metadata().get("ETag")
    return value.decode().strip('"') if value else None


@contextmanager
def _stream(uri: str, endpoint: str | None):
    place = uri.removeprefix(SCHEME)
    with (
        _explained(uri, endpoint),
        connect(place.partition("/")[0], endpoint).open_input_file(place) as file,
    ):
        yield file


@contextmanager
def _explained(uri: str, endpoint: str | None):
    """Errors of the store as an `ObjectError` that says in one sentence what is the matter."""
    try:
        yield
    except ObjectError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        missing = isinstance(error, FileNotFoundError) or "HTTP status 404" in str(error)
        if "NO_SUCH_BUCKET" in str(error) or DENIED.search(str(error)):
            sentence, missing = refusal(error, uri, endpoint), False
        elif missing:
            sentence = f"There is no object {uri!r}."
        elif isinstance(error, pa.ArrowInvalid):
            sentence = f"The key of {uri!r} is none that can be opened."
        else:
            sentence = refusal(error, uri, endpoint)
        raise ObjectError(sentence, missing) from error


@dataclass
class _Store:
    """What has been listed already: (prefix, the files below it)."""

    endpoint: str | None
    listed: dict[str, frozenset[str]] = field(default_factory=dict)


class ObjectPath:
    """An address in S3 with the part of `pathlib.Path` that the reading of data sets needs.

    Keys stay as they are (`a/../b` and `a//b` are names of their own) until `resolve` is asked for.

    Raises:
        BadSource: from every method, where the store has no such bucket, refuses, or cannot be reached.
    """

    def __init__(self, location: str, endpoint: str | None = None, store: _Store | None = None):
        self.place = location.removeprefix(SCHEME)
        self.store = store or _Store(endpoint)

    def __str__(self) -> str:
        return SCHEME + self.place

    def __truediv__(self, other: str) -> "ObjectPath":
        return self._of(posixpath.join(self.place.rstrip("/"), other.removeprefix(SCHEME)))

    def _of(self, place: str) -> "ObjectPath":
        return ObjectPath(place, store=self.store)

    @property
    def name(self) -> str:
        return self.place.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> "ObjectPath":
        return self._of(self.place.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        return self.parent / name

    def as_posix(self) -> str:
        return str(self)

    def resolve(self) -> "ObjectPath":
        return self._of(posixpath.normpath(self.place))

    def is_relative_to(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and f"{self.place}/".startswith(other.place.rstrip("/") + "/")

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        if self.place.endswith("/") or "/" not in self.place:
            return False
        for prefix, files in self.store.listed.items():
            if self.place.startswith(prefix + "/"):
                return self.place in files
        return self._kind() is fs.FileType.File

    def is_dir(self) -> bool:
        if "/" in self.place.rstrip("/") and not self.files():
            return self._kind() is fs.FileType.Directory
        self.files()  # of a bucket that is missing, only a listing says so
        return True

    def _kind(self) -> fs.FileType:
        with self._told():
            return self._files.get_file_info(self.place.rstrip("/")).type

    def files(self) -> list["ObjectPath"]:
        """Every object below, in the order of their keys; one whose key ends in `/` and that nothing is below
        counts when it is called like a file."""
        top = self.place.rstrip("/")
        if top not in self.store.listed:
            with self._told():
                try:
                    found = self._files.get_file_info(fs.FileSelector(top, recursive=True))
                except FileNotFoundError:
                    found = []
            files = {info.path for info in found if info.type is fs.FileType.File}
            parents = {posixpath.dirname(info.path) for info in found}
            files |= {
                info.path + "/"
                for info in found
                if info.type is fs.FileType.Directory and info.extension and info.path not in parents
            }
            self.store.listed[top] = frozenset(files)
        return [self._of(place) for place in sorted(self.store.listed[top])]

    def glob(self, pattern: str) -> list["ObjectPath"]:
        """The objects directly below whose name fits."""
        top = self.place.rstrip("/")
        return [file for file in self.files() if file.parent.place == top and fnmatchcase(file.name, pattern)]

    def read_bytes(self, limit: int = -1) -> bytes:
        """The object's bytes, the first `limit` of them where that is given."""
        with self._told(), _stream(str(self), self.store.endpoint) as stream:
            return stream.read(None if limit < 0 else limit)

    @property
    def _files(self) -> fs.S3FileSystem:
        bucket = self.place.partition("/")[0]
        if not bucket:
            raise BadSource("An address in S3 names a bucket, as in s3://bucket/videos.")
        return connect(bucket, self.store.endpoint)

    @contextmanager
    def _told(self):
        try:
            with _explained(str(self), self.store.endpoint):
                yield
        except ObjectError as error:
            raise BadSource(str(error)) from error
