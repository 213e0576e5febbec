"""Where the files of a model lie, as `models.path` says it: relative to the catalogue, so that both can move.

Beside a catalogue on this machine nothing is copied: the row names the folder from where the catalogue is. To
a catalogue in a bucket the files are copied, for whoever opens it elsewhere has no other way to them.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from catalog.errors import CatalogError, ModelMissing

if TYPE_CHECKING:
    from catalog.store import Catalog

_FOLDER = "models"


def keep_model(catalog: Catalog, folder: Path) -> str:
    """See that the catalogue can find a model's folder; returns what `models.path` has to say.

    Raises:
        CatalogError: the bucket of the catalogue does not take the files.
    """
    if "://" not in catalog.uri:
        return Path(os.path.relpath(folder.resolve(), Path(catalog.uri).resolve())).as_posix()
    path = posixpath.join(_FOLDER, folder.name)
    store, top = store_of(catalog)
    try:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            target = posixpath.join(top, path, file.relative_to(folder).as_posix())
            with file.open("rb") as given, store.open_output_stream(target) as taken:
                shutil.copyfileobj(given, taken)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"The model cannot be copied to {catalog.uri}/{path}: {_said(error)}.") from error
    return path


def model_folder(catalog: Catalog, path: str, beside: Path) -> Path:
    """The folder on this machine that holds a model's files; fetched into `beside` from a catalogue's bucket.

    Args:
        path: as `models.path` says it.
        beside: the working directory's own folder of models, where it is looked for too: a catalogue may
            have been moved without it.

    Raises:
        ModelMissing: the files are in neither place.
    """
    own = beside.absolute() / posixpath.basename(path)
    if "://" not in catalog.uri:
        named = Path(os.path.normpath(Path(catalog.uri).resolve() / path))
        for folder in (named, own):
            if folder.is_dir():
                return folder
        raise ModelMissing(
            f"The files of model {own.name} are neither in {named} nor in {own}. "
            f"Copy its folder to {own}, or train again with `video2lora train`."
        )
    return own if own.is_dir() else _fetched(catalog, path, own)


def _fetched(catalog: Catalog, path: str, own: Path) -> Path:
    store, top = store_of(catalog)
    source = posixpath.join(top, path)
    partial = own.with_name(f".{own.name}-{uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        for info in store.get_file_info(fs.FileSelector(source, recursive=True)):
            target = partial / posixpath.relpath(info.path, source)
            if info.type is fs.FileType.File:
                target.parent.mkdir(parents=True, exist_ok=True)
                with store.open_input_stream(info.path) as given, target.open("wb") as taken:
                    shutil.copyfileobj(given, taken)
        partial.rename(own)
    except (OSError, pa.ArrowException) as error:
        if own.is_dir():  # another process was first
            return own
        raise ModelMissing(
            f"The files of model {own.name} cannot be fetched from {catalog.uri}/{path}: {_said(error)}."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return own


def store_of(catalog: Catalog) -> tuple[fs.FileSystem, str]:
    """The file system of a catalogue, and where in it the catalogue is."""
    scheme, colon, place = catalog.uri.partition("://")
    if not colon:
        return fs.LocalFileSystem(), catalog.uri
    if scheme != "s3":
        return fs.FileSystem.from_uri(catalog.uri)
    options = {key.lower().removeprefix("aws_"): v for key, v in (catalog.storage_options or {}).items()}

    def told(name: str, *variables: str) -> str | None:
        return options.get(name) or next((os.environ[v] for v in variables if os.environ.get(v)), None)

    store = fs.S3FileSystem(
        access_key=options.get("access_key_id"),
        secret_key=options.get("secret_access_key"),
        session_token=options.get("session_token"),
        region=told("region", "AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint_override=told("endpoint", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    )
    return store, place


def _said(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")[:200]
