"""What there is to ingest: files, folders, globs, manifests and the field's data sets, as one list."""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import BadSource
from pipeline.sources import layouts
from pipeline.sources.objects import ObjectPath, is_object
from pipeline.sources.source import Source
from pipeline.video.container import SNIFF_BYTES, is_text

_MEDIA_NAMES = """
    mp4 m4v mov qt mkv webm avi divx flv f4v swf gif apng mpg mpeg mpe m2v vob ts m2ts mts m4s wmv asf ogv ogg
    ps 3gp 3g2 mxf dv y4m ivf h264 264 h265 265 hevc rm rmvb nut
    webp avif heic mp3 m4a aac ac3 ec3 wav flac wma opus
"""
# What else lies in data sets and is no input.
_OTHER_NAMES = """
    txt md json jsonl csv tsv parquet xml yaml yml toml html py log jpg jpeg png bmp srt vtt npy npz pt
    safetensors zip tar gz part tmp db ini
"""
Place = Path | ObjectPath
MEDIA_SUFFIXES = frozenset("." + name for name in _MEDIA_NAMES.split())
_OTHER_SUFFIXES = frozenset("." + name for name in _OTHER_NAMES.split())


@dataclass(frozen=True)
class Survey:
    """What was found at a place.

    `layout` names how it was read, `sources` are the inputs in order of their address, `unlisted` the video
    files of the folder that its manifest does not mention (they are no inputs).
    """

    layout: str
    sources: list[Source]
    unlisted: list[str]


def discover(
    location: str | Path,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    defaults: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> list[Source]:
    """The inputs at a place; `survey` without what it tells beside.

    Args:
        location: a video file, a folder, a glob pattern, or a manifest (.csv, .json, .jsonl, .parquet);
            all but the glob also in S3, as `s3://bucket/prefix`.
        layout: one of `layouts.LAYOUTS` or `folder`; None detects it.
        columns: for manifests, our name of a column (`path`, `label`, `caption`, `licence`, …) to theirs.
        root: the folder that a manifest's paths start from and may not leave; its own folder by default.
        defaults: what inputs have that say nothing themselves (`source`, `licence`, `generator`, …).
        endpoint: the store that S3 addresses are in; None takes AWS_ENDPOINT_URL, or AWS itself.

    Raises:
        BadSource: nothing there, no videos, an unknown layout; BadManifest: a line that cannot be used.
    """
    said = {"layout": layout, "columns": columns, "root": root, "defaults": defaults, "endpoint": endpoint}
    return survey(location, **said).sources


def survey(
    location: str | Path,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    defaults: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> Survey:
    """As `discover`, with the layout that was detected and the videos that a manifest leaves out."""
    if layout is not None and layout not in (*layouts.LAYOUTS, "folder"):
        known = ", ".join(("folder", *layouts.LAYOUTS))
        raise BadSource(f"No layout is called {layout!r}. Known layouts: {known}.")
    path = _place(location, endpoint)
    root = None if root is None else _place(root, endpoint)
    if not path.exists():
        found = _from_glob(str(path))
    elif path.is_file():
        if path.suffix.lower() in layouts.MANIFEST_SUFFIXES:
            found = _from_manifest(path, layout, columns, root)
        else:
            found = Survey("file", [_source(path, None)], [])
    else:
        found = _from_folder(path, layout, columns, root)
    sources = [_with_defaults(source, defaults or {}) for source in found.sources]
    return replace(found, sources=sorted(sources, key=lambda source: source.uri))


def _place(location: str | Path, endpoint: str | None) -> Place:
    return ObjectPath(str(location), endpoint) if is_object(location) else Path(location).expanduser()


def _with_defaults(source: Source, defaults: Mapping[str, str]) -> Source:
    missing = {name: value for name, value in defaults.items() if getattr(source, name) is None}
    return replace(source, **missing)


def _from_glob(pattern: str) -> Survey:
    if not glob.has_magic(pattern) or is_object(pattern):
        raise BadSource(f"There is nothing at {pattern!r}. Give a video, a folder, a glob or a manifest.")
    files = [Path(name) for name in glob.iglob(pattern, recursive=True)]  # noqa: PTH207 - may be absolute
    files = [file for file in files if file.is_file() and is_video_name(file)]
    if not files:
        raise BadSource(f"No video matches {pattern!r}.")
    return Survey("glob", [_source(file, file.parent.name) for file in files], [])


def _from_manifest(path: Place, layout: str | None, columns, root) -> Survey:
    if isinstance(path, ObjectPath):
        (root or path.parent).files()  # listed at once, not asked for one by one
    name, sources = layouts.read_manifest(path, layout, columns, root)
    if not sources:
        raise BadSource(f"The manifest {str(path)!r} lists no videos.")
    return Survey(name, sources, [])


def _from_folder(folder: Place, layout: str | None, columns, root) -> Survey:
    files = videos_below(folder)
    found = None if layout == "folder" else layouts.read_folder(folder, layout, columns, root)
    if found is not None:
        name, sources = found
        if not sources:
            raise BadSource(f"The data set at {str(folder)!r} ({name}) lists no videos.")
        listed = {source.uri for source in sources}
        return Survey(name, sources, [str(file) for file in files if address(file) not in listed])
    if not files:
        what = "holds no videos" if _holds_files(folder) else "is empty"
        raise BadSource(f"The folder {str(folder)!r} {what}. Give one with video files, or a manifest.")
    top = folder.resolve()
    labels = {file: None if file.parent.resolve() == top else file.parent.name for file in files}
    return Survey("folder", [_source(file, label) for file, label in labels.items()], [])


def _holds_files(folder: Place) -> bool:
    if isinstance(folder, ObjectPath):
        return bool(folder.files())
    return any(entry.is_file() for entry in folder.rglob("*"))


def videos_below(folder: Place) -> list[Place]:
    """Every video file below a folder, hidden ones and folders left out, links to folders not followed."""
    if isinstance(folder, ObjectPath):
        return [file for file in folder.files() if not _hidden(file, folder) and is_video_name(file)]
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and file.is_file() and is_video_name(file):
                found.append(file)
    return found


def _hidden(file: ObjectPath, folder: ObjectPath) -> bool:
    parts = file.place.removeprefix(folder.place).split("/")
    return any(part.startswith(".") and part not in (".", "..") for part in parts)


def is_video_name(file: Place) -> bool:
    """Whether a file is an input: by its suffix, or, where that says nothing, by not being text.

    Sound files and the like are inputs, and get their row with a reason: nothing that might have been meant
    as a video is passed over in silence.
    """
    suffix = file.suffix.lower()
    if suffix in MEDIA_SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES:
        return False
    if isinstance(file, ObjectPath):
        return not is_text(file.read_bytes(SNIFF_BYTES))
    try:
        with file.open("rb") as opened:
            return not is_text(opened.read(SNIFF_BYTES))
    except OSError:
        return False


def address(file: Place) -> str:
    """The `source_uri` of a file: its absolute path, links resolved; in S3 its address, as it is."""
    if isinstance(file, ObjectPath):
        return str(file)
    return file.resolve().as_posix()


def _source(file: Place, label: str | None) -> Source:
    return Source(uri=address(file), label=label)
