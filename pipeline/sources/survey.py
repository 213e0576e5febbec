"""What there is to ingest: files, folders, globs, manifests and the field's data sets, as one list."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pipeline.errors import BadManifest, BadSource
from pipeline.sources import layouts
from pipeline.sources.addresses import address_of
from pipeline.sources.holders import Held, held_by
from pipeline.sources.manifests import Listing
from pipeline.sources.members import INSIDE, is_there
from pipeline.sources.objects import ObjectPath, is_object
from pipeline.sources.pictures import RATE
from pipeline.sources.rows import SUFFIXES
from pipeline.sources.sidecars import with_captions
from pipeline.sources.source import Skipped, Source
from pipeline.sources.walk import HOLDERS, Place, Walk, is_video_name, is_video_suffix, walk

_UNLISTED = "an archive that the data set's own list does not mention"


@dataclass(frozen=True)
class Survey:
    """What was found at a place.

    Attributes:
        layout: how it was read.
        sources: the inputs, in order of their address; those with a refusal are rows without being opened.
        unlisted: video files of the folder that its manifest does not mention (they are no inputs).
        skipped: what else lies there and was left alone, with reasons.
        notes: sentences on how it was read.
        scope: the folder whose files these are, as the beginning of their addresses; None for a single file
            or a glob. A file of an earlier run that lies in it and is not among the sources may be gone.
    """

    layout: str
    sources: list[Source]
    unlisted: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scope: str | None = None


def discover(
    location: str | Path,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    defaults: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    strict: bool = False,
) -> list[Source]:
    """The inputs at a place; `survey` without what it tells beside.

    Args:
        location: a video file, a folder, a glob pattern, a manifest (.csv, .json, .jsonl, .parquet), or what
            holds videos (.tar, .parquet); all but the glob and the last also in S3, as `s3://bucket/prefix`.
        layout: one of `layouts.LAYOUTS` or `folder`; None detects it.
        columns: for manifests, our name of a column (`path`, `label`, `caption`, `licence`, …) to theirs;
            the empty name says that none is meant (`label` to nothing: no folder names one either).
        root: the folder that a manifest's paths start from and may not leave; its own folder by default.
        defaults: what inputs have that say nothing themselves (`source`, `licence`, `generator`, …).
        endpoint: the store that S3 addresses are in; None takes AWS_ENDPOINT_URL, or AWS itself.
        strict: refuse a manifest with entries that name no file that is there.

    Raises:
        BadSource: nothing there, no videos, an unknown layout; BadManifest: a manifest that cannot be used.
    """
    said = {"layout": layout, "columns": columns, "root": root, "defaults": defaults, "endpoint": endpoint}
    return survey(location, **said, strict=strict).sources


def survey(
    location: str | Path,
    *,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    defaults: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    strict: bool = False,
) -> Survey:
    """The same as `discover`, with everything that was seen and is no input."""
    if not str(location).strip():
        raise BadSource("No place is named. Give a video, a folder, a glob or a manifest.")
    if layout is not None and layout not in (*layouts.LAYOUTS, "folder"):
        known = ", ".join(("folder", *layouts.LAYOUTS))
        raise BadSource(f"No layout is called {layout!r}. Known layouts: {known}.")
    path = _place(location, endpoint)
    root = None if root is None else _place(root, endpoint)
    if not _exists(path):
        found = _from_glob(str(path), columns)
    elif layout is None and (held := _held(path, columns)) is not None:
        found = _from_holder(path, held)
    elif path.is_file():
        if path.suffix.lower() in SUFFIXES or (layout and path.suffix.lower() == ".txt"):
            found = _from_manifest(path, layout, columns, root)
        else:
            found = Survey("file", [Source(address(_top_resolved(path)))])
    else:
        top = _revision(path.resolve())
        found = _from_folder(top, layout, columns, root)
        if top.name != path.resolve().name:
            found.notes.append(f"revision {top.name} of Hugging Face's cache")
    if columns and columns.get("label") == "":
        found = replace(found, sources=[replace(source, label=None) for source in found.sources])
    if strict:
        _refuse_missing(found.sources, str(location))
    sources, captions, odd = with_captions(found.sources, path if isinstance(path, ObjectPath) else None)
    notes = [*found.notes, *([f"{captions} captions are from .txt files beside the videos"] * bool(captions))]
    sources = [_with_defaults(source, defaults or {}) for source in sources]
    return replace(
        found,
        sources=sorted(sources, key=lambda source: source.uri),
        skipped=[*found.skipped, *odd],
        notes=notes,
    )


def _place(location: str | Path, endpoint: str | None) -> Place:
    return ObjectPath(str(location), endpoint) if is_object(location) else Path(location).expanduser()


def _exists(path: Place) -> bool:
    try:
        return path.exists()
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise BadSource(f"{str(path)!r} cannot be looked at: {said}.") from error


def _with_defaults(source: Source, defaults: Mapping[str, str]) -> Source:
    missing = {name: value for name, value in defaults.items() if getattr(source, name) is None}
    return replace(source, **missing)


def _refuse_missing(sources: Sequence[Source], location: str) -> None:
    wrong = [s.refusal.reason for s in sources if s.refusal]
    wrong += [f"There is no file {s.location!r}." for s in sources if not s.refusal and not _there(s)]
    if wrong:
        more = f" And {len(wrong) - 10} more." if len(wrong) > 10 else ""
        raise BadManifest(f"{location!r} has {len(wrong)} entries of no use. {' '.join(wrong[:10])}{more}")


def _there(source: Source) -> bool:
    return is_object(source.location) or is_there(source.location)


def _from_glob(pattern: str, columns) -> Survey:
    if not glob.has_magic(pattern) or is_object(pattern):
        raise BadSource(f"There is nothing at {pattern!r}. Give a video, a folder, a glob or a manifest.")
    files = [Path(name) for name in glob.iglob(pattern, recursive=True)]  # noqa: PTH207 - may be absolute
    files = [file for file in files if file.is_file()]
    held = Held()
    for file in files:
        held.add(_held(file, columns, layouts.label_of(file.absolute().parent.name)))
    videos = [_in_folder(address(file), "") for file in files if is_video_name(file)]
    if not videos and not held.sources:
        raise BadSource(f"No video matches {pattern!r}.")
    return Survey("glob", [*videos, *held.sources], skipped=held.skipped, notes=held.notes)


def _held(file: Place, columns, label: str | None = None) -> Held | None:
    """What a tar or a table holds; None for every other file, and for a table of names."""
    if isinstance(file, ObjectPath) or file.suffix.lower() not in HOLDERS or not file.is_file():
        return None
    return held_by(_top_resolved(file), columns, label, is_video_suffix)


def _from_holder(file: Path, held: Held) -> Survey:
    if not held.sources:
        raise BadSource(f"{str(file)!r} holds no videos.")
    if all(source.refusal for source in held.sources):
        raise BadSource(f"{str(file)!r} holds no videos that can be read. {held.sources[0].refusal.reason}")
    scope = f"{address(_top_resolved(file))}{INSIDE}"
    layout = file.suffix[1:].lower()
    return Survey(layout, held.sources, skipped=held.skipped, notes=held.notes, scope=scope)


def _from_manifest(path: Place, layout: str | None, columns, root) -> Survey:
    top = root or path.parent
    if isinstance(path, ObjectPath):
        top.files()  # listed at once, not asked for one by one
    name, listing = layouts.read_manifest(path, layout, columns, root)
    _refuse_empty(listing, f"The manifest {str(path)!r}", top)
    return Survey(name, listing.sources, notes=listing.notes, scope=_scope(top))


def _refuse_empty(listing: Listing, what: str, top: Place) -> None:
    """Refuse a manifest of which no entry leads to a file: that is no manifest of this folder."""
    if not listing.sources:
        raise BadSource(f"{what} lists no videos.")
    if not any(_there(source) for source in listing.sources if source.refusal is None):
        first = listing.sources[0]
        why = first.refusal.reason if first.refusal else f"There is no file {first.location!r}."
        raise BadManifest(
            f"{what} has {len(listing.sources)} entries, and none names a file below {str(top)!r}: {why}"
        )


def _from_folder(folder: Place, layout: str | None, columns, root) -> Survey:
    seen, scope = walk(folder), _scope(folder)
    found = None if layout == "folder" else layouts.read_folder(folder, layout, columns, root)
    skipped = [*seen.skipped, *_other_lists(folder, found is not None)]
    if found is not None:
        name, listing = found
        _refuse_empty(listing, f"The data set at {str(folder)!r} ({name})", root or folder)
        listed = {source.location for source in listing.sources}
        unlisted = [file for file in map(address, [*seen.files, *seen.sequences]) if file not in listed]
        skipped += [
            Skipped(address(file), _UNLISTED) for file in seen.holders if file.suffix.lower() == ".tar"
        ]
        return Survey(name, [*listing.sources, *seen.closed], unlisted, skipped, listing.notes, scope)
    held = Held()
    for file in seen.holders:
        named = _in_folder(address(file), scope).label
        held.add(_held(file, columns, named and layouts.label_of(named)))
    skipped += held.skipped
    if not (seen.files or seen.sequences or held.sources) and not (
        seen.closed and seen.closed[0].uri != address(folder)
    ):
        raise BadSource(_nothing(folder, seen, skipped))
    sources = [_in_folder(address(file), scope) for file in seen.files]
    sources += [_of_sequence(file, seen.sequences, scope) for file in seen.sequences]
    if seen.sequences:
        how = f"numbered pictures as videos of {RATE} frames a second"
        held.notes.append(f"{len(seen.sequences)} inputs are {how}")
    return Survey("folder", [*sources, *held.sources, *seen.closed], [], skipped, held.notes, scope)


def _of_sequence(sequence: Place, others: Sequence[Place], scope: str) -> Source:
    """Pictures that have a folder to themselves are labelled by the one above it, unless that is the top."""
    alone = sum(other.parent == sequence.parent for other in others) == 1
    alone = alone and address(sequence.parent).startswith(scope)
    above = _in_folder(address(sequence.parent), scope).label if alone else None
    return Source(address(sequence), label=above or _in_folder(address(sequence), scope).label)


def _in_folder(uri: str, scope: str) -> Source:
    """A file that its folder labels, unless that is the whole's."""
    label = None if "/" not in uri.removeprefix(scope) else PurePosixPath(uri).parent.name
    return Source(uri, label=label)


def _nothing(folder: Place, seen: Walk, skipped: list[Skipped]) -> str:
    if seen.closed:
        return f"{str(folder)!r} cannot be read. {seen.closed[0].refusal.reason}"
    if skipped:
        told = ", ".join(f"{Path(place).name} ({reason})" for place, reason in skipped[:3])
        more = f", and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        return f"The folder {str(folder)!r} holds no videos, only {told}{more}."
    what = "holds no videos" if seen.others else "is empty"
    return f"The folder {str(folder)!r} {what}. Give one with video files, or a manifest."


def _other_lists(folder: Place, read: bool) -> list[Skipped]:
    """Lists of videos at the top of a folder that name themselves as no layout does."""
    if isinstance(folder, ObjectPath):
        told = (
            "a table in S3; a list of files is read by its own path, one of their bytes is to be copied here"
        )
        tables = [file for file in folder.files() if file.suffix.lower() == ".parquet"] if not read else []
        return [Skipped(str(file), told) for file in tables]
    found = []
    names = {name for marks, _ in layouts.LAYOUTS.values() for name in marks}
    for file in sorted([*folder.glob("*.csv"), *folder.glob("*.jsonl")]) if not read else ():
        if file.name not in names and layouts.lists_paths(file):
            told = "a list of files that was not read; give its path in place of the folder's to read it"
            found.append(Skipped(address(file), told))
    return found


def _revision(folder: Place) -> Place:
    """The folder of the files of a data set in Hugging Face's cache: the revision `main`, or the newest."""
    if isinstance(folder, ObjectPath):
        return folder
    sets = [folder] if (folder / "snapshots").is_dir() else [*folder.glob("datasets--*")]
    if len(sets) != 1 or not ((sets[0] / "blobs").is_dir() and (sets[0] / "snapshots").is_dir()):
        return folder
    main, snapshots = sets[0] / "refs" / "main", sets[0] / "snapshots"
    if main.is_file() and (snapshots / main.read_text("utf-8").strip()).is_dir():
        return snapshots / main.read_text("utf-8").strip()
    revisions = [revision for revision in snapshots.iterdir() if revision.is_dir()]
    return max(revisions, key=lambda revision: revision.stat().st_mtime, default=folder)


def _scope(folder: Place) -> str:
    return address(folder).rstrip("/") + "/"


def _top_resolved(file: Place) -> Place:
    return file if isinstance(file, ObjectPath) else file.parent.resolve() / file.name


def address(place: Place) -> str:
    """What a file is called in `sources`; in S3 its address as it is."""
    return str(place) if isinstance(place, ObjectPath) else address_of(place)
