"""Objects of a store that speaks S3: written whole, read, listed, removed; tried again where it falters.

Credentials and the region come from the environment, as for every tool of AWS; another store's address from
`AWS_ENDPOINT_URL` (or `AWS_ENDPOINT_URL_S3`).
"""

import os
import re
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from training.errors import TrainingError
from training.files import written

SCHEME = "s3://"
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
# What the store answers, found in the text of the error, to a sentence that is true of it.
DENIED = re.compile("ACCESS_DENIED|403|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE_DOES_NOT_MATCH")
# One request is tried so often by the client; what it then gives up is begun anew, later.
_REQUESTS, _TRIES, _PAUSE = 5, 4, 1.0

T = TypeVar("T")


class StoreError(TrainingError):
    """A bucket that is not there, refuses, or cannot be reached."""


class Faltered(OSError):
    """A store that failed again and again at what it may yet do: another try may find it better."""


def is_object(place: str) -> bool:
    """Whether this is an address in S3."""
    return place.startswith(SCHEME)


def endpoint_of(given: str | None = None) -> str | None:
    """The address of the store, where it is not AWS's own."""
    return given or next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)


def connect(bucket: str, endpoint: str | None = None) -> fs.S3FileSystem:
    """One connection per process, endpoint and bucket; a bucket of AWS is asked for its region."""
    return _connected(endpoint_of(endpoint), bucket)


@cache
def _connected(where: str | None, bucket: str) -> fs.S3FileSystem:
    region = next((os.environ[name] for name in REGIONS if os.environ.get(name)), None)
    if region is None and where is None:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        endpoint_override=where,
        region=region,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_REQUESTS),
        connect_timeout=10,
        request_timeout=60,
    )


def put(source: Path | bytes, uri: str) -> None:
    """Write an object: a file's content, or bytes. It is there when it is whole, or not at all."""

    def write(store: fs.S3FileSystem, place: str) -> None:
        with store.open_output_stream(place) as out:
            if isinstance(source, bytes):
                out.write(source)
            else:
                with source.open("rb") as file:
                    shutil.copyfileobj(file, out, 8 * 2**20)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if (found := store.get_file_info(place).size) != size:
            raise OSError(f"{found} of {size} bytes arrived")

    _tried(uri, write)


def fetch(uri: str, target: Path) -> None:
    """Copy an object into a file, which appears whole; raises FileNotFoundError where there is none."""

    def read(store: fs.S3FileSystem, place: str) -> None:
        with written(target) as partial, store.open_input_stream(place) as given, partial.open("wb") as taken:
            shutil.copyfileobj(given, taken, 8 * 2**20)

    _tried(uri, read)


def read(uri: str) -> bytes | None:
    """An object's bytes; None where there is none."""

    def whole(store: fs.S3FileSystem, place: str) -> bytes:
        with store.open_input_stream(place) as given:
            return given.read()

    try:
        return _tried(uri, whole)
    except FileNotFoundError:
        return None


def listed(uri: str) -> dict[str, fs.FileInfo]:
    """The objects below a prefix, by the rest of their keys, which are fit to be names below a folder.

    Raises:
        StoreError: a key leads out of the folder that it would be copied into.
    """

    def find(store: fs.S3FileSystem, place: str) -> dict[str, fs.FileInfo]:
        top = place.rstrip("/") + "/"
        found = store.get_file_info(fs.FileSelector(top, recursive=True, allow_not_found=True))
        return {info.path[len(top) :]: info for info in found if info.type is fs.FileType.File}

    objects = _tried(uri, find)
    for name in objects:
        if {"..", ".", ""} & set(name.split("/")):
            raise StoreError(
                f"The key {name[:200]!r} below {uri!r} leads out of its folder; nothing was copied. Remove "
                "that object."
            )
    return objects


def known(uri: str) -> fs.FileInfo | None:
    """Size and age of an object; None where there is none."""
    info = _tried(uri, lambda store, place: store.get_file_info(place))
    return info if info.type is fs.FileType.File else None


def require_bucket(uri: str) -> None:
    """See that the bucket of an address is there; raises StoreError where it is not."""
    bucket = uri.removeprefix(SCHEME).partition("/")[0]
    if _tried(SCHEME + bucket, lambda store, place: store.get_file_info(place)).type is fs.FileType.NotFound:
        raise StoreError(refusal(OSError("NO_SUCH_BUCKET"), uri))


def remove(uri: str) -> None:
    """Take an object away, if it is there."""

    def delete(store: fs.S3FileSystem, place: str) -> None:
        try:
            if store.get_file_info(place).type is fs.FileType.File:
                store.delete_file(place)
        except OSError:
            # Arrow then makes a mark of the folder that it leaves empty, which nobody needs.
            if store.get_file_info(place).type is fs.FileType.File:
                raise

    _tried(uri, delete)


def _tried(uri: str, work: Callable[[fs.S3FileSystem, str], T]) -> T:
    """What `work` returns, begun anew where the store falters.

    Raises:
        StoreError: what no other try would change; the sentence says what to do.
        FileNotFoundError: there is no such object.
        Faltered: it failed each time.
    """
    place = uri.removeprefix(SCHEME)
    for left in reversed(range(_TRIES)):
        try:
            return work(connect(place.partition("/")[0]), place)
        except FileNotFoundError as error:
            if "NO_SUCH_BUCKET" in str(error):
                raise StoreError(refusal(error, uri)) from error
            raise
        except (OSError, pa.ArrowException) as error:
            said = str(error)
            if DENIED.search(said) or "NO_SUCH_BUCKET" in said:
                raise StoreError(refusal(error, uri)) from error
            if not left:
                raise Faltered(refusal(error, uri)) from error
            time.sleep(_PAUSE * (_TRIES - left))
    raise AssertionError


def refusal(error: Exception, uri: str, endpoint: str | None = None) -> str:
    """What a store did not do, in one sentence."""
    said = str(error)
    bucket = uri.removeprefix(SCHEME).partition("/")[0]
    at = f" at {where}" if (where := endpoint_of(endpoint)) else ""
    if "NO_SUCH_BUCKET" in said:
        return f"There is no bucket {bucket!r}{at}."
    if DENIED.search(said):
        return (
            f"The store{at} refuses access to {uri!r}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "what they may read and write."
        )
    if "NETWORK_CONNECTION" in said:
        return f"The store{at or ' of AWS'} cannot be reached; check the endpoint."
    return f"The store{at} failed on {uri!r}: {said.splitlines()[0][:200]}."
