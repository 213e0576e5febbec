"""The field's data sets as they lie on disk: how each is recognised and read."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.errors import BadManifest
from pipeline.sources import manifests
from pipeline.sources.given import with_references
from pipeline.sources.manifests import Listing
from pipeline.sources.rows import SUFFIXES, Row, lines_of, plain, read_rows, read_text
from pipeline.sources.source import Source

Columns = Mapping[str, str] | None
Reader = Callable[[Path, Columns, Path | None], Listing]

# The spellings that finetrainers itself looks for, in its order.
_PROMPTS = ("prompt.txt", "prompts.txt", "caption.txt", "captions.txt")
_VIDEOS = ("video.txt", "videos.txt")
# Folders that hold a data set's videos and name no effect.
_NO_LABELS = {"video", "videos", "train", "training", "test", "val", "validation", "data", "clips", "images"}


def _generic(path: Path, columns: Columns, root: Path | None) -> Listing:
    return manifests.to_sources(path, read_rows(path), columns, root)


def _samples(path: Path, columns: Columns, root: Path | None) -> Listing:
    """What `video2lora sample` writes; its seeds concern nobody who reads the videos."""
    rows = [Row(row.line, {k: v for k, v in row.values.items() if k != "seed"}) for row in read_rows(path)]
    return manifests.to_sources(path, rows, columns, root)


def _vap_data(path: Path, columns: Columns, root: Path | None) -> Listing:
    """A row is a pair, so a video comes again and again; rows that the set marks invalid are left out."""
    rows = read_rows(path)
    valid = [row for row in rows if str(row.values.get("_valid", "true")).lower() not in ("false", "0")]
    said = [
        Row(row.line, {key: value for key, value in row.values.items() if key != "_valid"}) for row in valid
    ]
    listing = manifests.to_sources(path, said, columns, root, again=True)
    named = manifests.resolve_columns(path, rows, columns)["path"] if rows else ""
    invalid = {row.values.get(named) for row in rows} - {row.values.get(named) for row in valid}
    if invalid:
        listing.notes.append(f"{len(invalid)} videos that the data set marks invalid are left out")
    listing.sources = with_references(path, valid, columns, root, listing.sources, invalid)
    return listing


def _labelled_by_folder(path: Path, columns: Columns, root: Path | None) -> Listing:
    listing = _generic(path, columns, root)
    if columns is None or columns.get("label") != "":
        listing.sources = [replace(s, label=s.label or _folder_label(s)) for s in listing.sources]
    return listing


def _folder_label(source: Source) -> str | None:
    return None if source.refusal else label_of(PurePosixPath(source.uri).parent.name)


def label_of(folder: str) -> str | None:
    """The category that a folder of that name stands for; None for `videos`, `train` and the like."""
    return None if not folder or plain(folder) in _NO_LABELS else folder


def _open_vfx(path: Path, columns: Columns, root: Path | None) -> Listing:
    """One JSON list per effect; names such as `Dissolve_it-0.mp4` hold the label; no absent masks.

    `start` and `end` are the numbers of the frames between which the effect happens.
    """
    lists = sorted(path.parent.glob("*.json")) if path.parent.is_dir() else [path]
    entries, notes = [], []
    for file in lists:
        rows = read_rows(file)
        kept = [row for row in rows if not _absent_mask(row, root or file.parent)]
        if len(kept) < len(rows):
            notes.append(f"{len(rows) - len(kept)} masks that {file.name} lists are not there")
        found = manifests.to_sources(file, kept, columns, root, again=True, unit="frames")
        notes += [note for note in found.notes if note not in notes]
        for number, source in enumerate(found.sources, start=1):
            stem = re.sub(r"[-_]\d+$", "", PurePosixPath(source.location).stem)
            label = source.label or (None if source.refusal else stem)
            uri = source.uri if source.refusal else source.location
            entries.append((file, number, replace(source, uri=uri, label=label)))
    return Listing(manifests.merged(entries, again=True), notes)


def _absent_mask(row: Row, root: Path) -> bool:
    named = str(row.values.get("path", ""))
    return "mask" in named.lower() and not (root / named).exists()


def _finetrainers(path: Path, columns: Columns, root: Path | None) -> Listing:
    """A list of videos and a list of prompts, line by line."""
    if path.suffix.lower() != ".txt":
        return _labelled_by_folder(path, columns, root)
    files, texts = _beside(path.parent, _VIDEOS), _beside(path.parent, _PROMPTS)
    if not files or not texts:
        raise BadManifest(f"{str(path.parent)!r} needs both a videos.txt and a prompts.txt.")
    videos, prompts = (_lines(found[0]) for found in (files, texts))
    if len(videos) != len(prompts):
        videos, prompts = ([line for line in lines if line[1]] for lines in (videos, prompts))
    if len(videos) != len(prompts):
        raise BadManifest(
            f"{files[0]}, line {min(len(videos), len(prompts)) + 1}: {len(videos)} videos but {len(prompts)} "
            f"prompts in {texts[0].name}; they go line by line."
        )
    rows = [
        Row(number, {"path": video, "caption": prompt})
        for (number, video), (_, prompt) in zip(videos, prompts, strict=True)
        if video
    ]
    listing = manifests.to_sources(files[0], rows, columns, root)
    listing.notes += [f"{other.name} was not read" for other in (*files[1:], *texts[1:])]
    return listing


def _beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Pairs (line, text) of a list, without the blank lines at its end."""
    lines = [(number, line.strip()) for number, line in enumerate(lines_of(read_text(path)), start=1)]
    while lines and not lines[-1][1]:
        lines.pop()
    return lines


def _diffusion_pipe(path: Path, columns: Columns, root: Path | None) -> Listing:
    """`captions.json`: an object of file names with a caption, or a list of them, each."""
    try:
        told = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{path}, line 1: not JSON ({error}).") from error
    if not isinstance(told, dict):
        raise BadManifest(f"{path}, line 1: not an object of file names and captions.")
    rows, more = [], 0
    for name, captions in told.items():
        captions = captions if isinstance(captions, list) else [captions]
        more += len(captions) > 1
        rows.append(Row(len(rows) + 1, {"path": name, "caption": captions[0] if captions else None}))
    listing = manifests.to_sources(path, rows, columns, root)
    if more:
        listing.notes.append(f"{more} videos have several captions; the first of each counts")
    return listing


def _fiftyone(path: Path, columns: Columns, root: Path | None) -> Listing:
    """`samples.json` of a FiftyOneDataset; the label is a Classification, whatever its field is called."""
    rows = []
    for row in read_rows(path):
        labels = [v for v in row.values.values() if isinstance(v, dict) and v.get("_cls") == "Classification"]
        flat = {key: value for key, value in row.values.items() if not isinstance(value, dict | list)}
        rows.append(Row(row.line, {"label": labels[0].get("label") if labels else None} | flat))
    return manifests.to_sources(path, rows, columns, root)


# Layout to the files that mark a folder as one, and how it is read. The order is the order of detection.
LAYOUTS: dict[str, tuple[tuple[str, ...], Reader]] = {
    "samples": (("captions.jsonl",), _samples),
    "vap-data": (("vap_data.csv",), _vap_data),
    "omni-vfx": (("VFX_data.json",), _labelled_by_folder),
    "finetrainers": (_VIDEOS, _finetrainers),
    "diffusion-pipe": (("captions.json",), _diffusion_pipe),
    "fiftyone": (("samples.json",), _fiftyone),
    "vfxmaster": (("info.json",), _labelled_by_folder),
    "videox-fun": (("metadata.json", "train.json"), _labelled_by_folder),
    "manifest": (
        (
            "manifest.jsonl",
            "manifest.json",
            "manifest.csv",
            "manifest.parquet",
            "metadata.jsonl",
            "metadata.csv",
            "metadata.parquet",
        ),
        _generic,
    ),
    "open-vfx": ((), _open_vfx),
    "musubi": ((), _generic),
}
_VIDEOX_KEYS = ({"file_path", "text", "type"}, {"video_path", "video_caption", "class"})


def read_manifest(path: Path, layout: str | None, columns: Columns, root: Path | None) -> tuple[str, Listing]:
    """Read one manifest file, as the layout named, or as the one that its name and keys speak for."""
    if layout is None:
        named = (name for name, (files, _) in LAYOUTS.items() if path.name in files)
        layout = next(named, None)
        if layout in (None, "vfxmaster", "videox-fun") and columns is None:
            layout = _by_keys(path) or layout
    layout = layout or "manifest"
    return layout, LAYOUTS[layout][1](path, columns, root)


def _by_keys(path: Path) -> str | None:
    rows = read_rows(path) if path.suffix.lower() in SUFFIXES else []
    keys = set(rows[0].values) if rows else set()
    return "videox-fun" if any(wanted <= keys for wanted in _VIDEOX_KEYS) else None


def read_folder(
    folder: Path, layout: str | None, columns: Columns, root: Path | None
) -> tuple[str, Listing] | None:
    """Read a folder by the manifest in it; None where there is none and no layout was named.

    Raises:
        BadManifest: the layout was named and its file is missing, or a line cannot be used.
    """
    for name in LAYOUTS if layout is None else (layout,):
        marks = _marks(folder, name)
        # A list of another tool, or prompts for nothing, is no sign of a layout unless it is named.
        if not marks or (layout is None and not _speaks(name, marks)):
            continue
        found, listing = read_manifest(marks[0], name, columns, root)
        if name != "open-vfx":
            listing.notes += [f"{mark.name} was not read" for mark in marks[1:] if name != "finetrainers"]
        return found, listing
    if layout is None:
        return None
    wanted = " or ".join(LAYOUTS[layout][0]) or "lists with a column path"
    raise BadManifest(f"The folder {str(folder)!r} is no {layout} data set: it has no {wanted}.")


def _marks(folder: Path, layout: str) -> list[Path]:
    if layout == "open-vfx":
        return [file for file in sorted(folder.glob("*.json")) if lists_paths(file)]
    if layout == "musubi":  # of any name
        return [file for file in sorted(folder.glob("*.jsonl")) if lists_paths(file)]
    return [folder / name for name in LAYOUTS[layout][0] if (folder / name).is_file()]


def _speaks(layout: str, marks: list[Path]) -> bool:
    if layout in ("fiftyone", "vfxmaster"):
        return lists_paths(marks[0])
    if layout == "finetrainers":
        return bool(_beside(marks[0].parent, _PROMPTS))
    # Of several lists none is the one.
    return layout != "musubi" or len(marks) == 1


def lists_paths(file: Path) -> bool:
    """Whether a file is a list of entries with paths; other JSON in a folder is no manifest."""
    try:
        rows = read_rows(file)
    except BadManifest:
        return False
    return bool(rows) and any(name in manifests.COLUMNS["path"] for name in map(plain, rows[0].values))
