"""The field's data sets as they lie on disk: how each is recognised and read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.errors import BadManifest
from pipeline.sources import manifests
from pipeline.sources.given import with_references
from pipeline.sources.manifests import Row
from pipeline.sources.source import Source

MANIFEST_SUFFIXES = manifests.SUFFIXES

Columns = Mapping[str, str] | None
Reader = Callable[[Path, Columns, Path | None], list[Source]]


def _generic(path: Path, columns: Columns, root: Path | None) -> list[Source]:
    return manifests.to_sources(path, manifests.read_rows(path), columns, root)


def _vap_data(path: Path, columns: Columns, root: Path | None) -> list[Source]:
    """A row is a pair, so a video comes again and again; rows that the set marks invalid are left out."""
    rows = manifests.read_rows(path)
    valid = [row for row in rows if str(row.values.get("_valid", "true")).lower() not in ("false", "0")]
    sources = manifests.to_sources(path, valid, columns, root, again=True)
    named = manifests.resolve_columns(path, rows, columns)["path"] if rows else ""
    invalid = {row.values.get(named) for row in rows} - {row.values.get(named) for row in valid}
    return with_references(path, valid, columns, root, sources, invalid)


def _labelled_by_folder(path: Path, columns: Columns, root: Path | None) -> list[Source]:
    sources = _generic(path, columns, root)
    return [replace(s, label=s.label or PurePosixPath(s.uri).parent.name) for s in sources]


def _open_vfx(path: Path, columns: Columns, root: Path | None) -> list[Source]:
    """One JSON list per effect; names such as `Dissolve_it-0.mp4` hold the label; no absent masks.

    `start` and `end` are the numbers of the frames between which the effect happens.
    """
    lists = sorted(path.parent.glob("*.json")) if path.parent.is_dir() else [path]
    sources: dict[str, Source] = {}
    for file in lists:
        rows = [row for row in manifests.read_rows(file) if not _absent_mask(row, root or file.parent)]
        for source in manifests.to_sources(file, rows, columns, root, again=True, unit="frames"):
            stem = re.sub(r"[-_]\d+$", "", PurePosixPath(source.uri).stem)
            sources.setdefault(source.uri, replace(source, label=source.label or stem))
    return list(sources.values())


def _absent_mask(row: Row, root: Path) -> bool:
    named = str(row.values.get("path", ""))
    return "mask" in named.lower() and not (root / named).exists()


def _finetrainers(path: Path, columns: Columns, root: Path | None) -> list[Source]:
    """`videos.txt` and `prompts.txt`, line by line."""
    if path.suffix.lower() != ".txt":
        return _labelled_by_folder(path, columns, root)
    videos = manifests.read_text(path.with_name("videos.txt")).splitlines()
    prompts = manifests.read_text(path.with_name("prompts.txt")).splitlines()
    if len(videos) != len(prompts):
        line = min(len(videos), len(prompts)) + 1
        raise BadManifest(
            f"{path}, line {line}: {len(videos)} videos but {len(prompts)} prompts; they go line by line."
        )
    rows = [
        Row(number, {"path": video, "caption": prompt})
        for number, (video, prompt) in enumerate(zip(videos, prompts, strict=True), start=1)
        if video.strip()
    ]
    return manifests.to_sources(path, rows, columns, root)


# Layout to the files that mark a folder as one, and how it is read. The order is the order of detection.
LAYOUTS: dict[str, tuple[tuple[str, ...], Reader]] = {
    "samples": (("captions.jsonl",), _generic),
    "vap-data": (("vap_data.csv",), _vap_data),
    "omni-vfx": (("VFX_data.json",), _labelled_by_folder),
    "finetrainers": (("videos.txt",), _finetrainers),
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
        ),
        _generic,
    ),
    "open-vfx": ((), _open_vfx),
}
_VIDEOX_KEYS = ({"file_path", "text", "type"}, {"video_path", "video_caption", "class"})


def read_manifest(
    path: Path, layout: str | None, columns: Columns, root: Path | None
) -> tuple[str, list[Source]]:
    """Read one manifest file, as the layout named, or as the one that its name and keys speak for."""
    if layout is None:
        named = (name for name, (files, _) in LAYOUTS.items() if path.name in files)
        layout = next(named, None)
        if layout in (None, "vfxmaster", "videox-fun") and columns is None:
            layout = _by_keys(path) or layout
    layout = layout or "manifest"
    return layout, LAYOUTS[layout][1](path, columns, root)


def _by_keys(path: Path) -> str | None:
    rows = manifests.read_rows(path) if path.suffix.lower() in MANIFEST_SUFFIXES else []
    keys = set(rows[0].values) if rows else set()
    return "videox-fun" if any(wanted <= keys for wanted in _VIDEOX_KEYS) else None


def read_folder(
    folder: Path, layout: str | None, columns: Columns, root: Path | None
) -> tuple[str, list[Source]] | None:
    """Read a folder by the manifest in it; None where there is none and no layout was named.

    Raises:
        BadManifest: the layout was named and its file is missing, or a line cannot be used.
    """
    for name in LAYOUTS if layout is None else (layout,):
        if name == "open-vfx":
            marks = [file for file in sorted(folder.glob("*.json")) if _lists_paths(file)]
        else:
            marks = [folder / file for file in LAYOUTS[name][0] if (folder / file).is_file()]
        if not marks:
            continue
        if layout is None and name == "vfxmaster" and not _lists_paths(marks[0]):
            continue
        if name == "finetrainers" and not (folder / "prompts.txt").is_file():
            continue
        return read_manifest(marks[0], name, columns, root)
    if layout is None:
        return None
    wanted = " or ".join(LAYOUTS[layout][0]) or "JSON lists with a column path"
    raise BadManifest(f"The folder {str(folder)!r} is no {layout} data set: it has no {wanted}.")


def _lists_paths(file: Path) -> bool:
    """Whether a JSON file is a list of entries with paths; other JSON in a folder is no manifest."""
    try:
        rows = manifests.read_rows(file)
    except BadManifest:
        return False
    return bool(rows) and any(name in rows[0].values for name in manifests.COLUMNS["path"])
