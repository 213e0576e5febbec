"""Clips to categories and splits: by label, by prototype, or by a cluster that proposes a category."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

import numpy as np
from lancedb.expr import col

from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.curation.membership import (
    Clip,
    ClusterSettings,
    Names,
    by_cluster,
    by_label_or_person,
    by_prototype,
    prototypes,
)
from pipeline.curation.splits import split_of
from pipeline.progress import Progress
from pipeline.sources.labels import normalise_label

__all__ = ["ClusterReport", "ClusterSettings", "cluster"]

ROWS_PER_COMMIT = 10_000
FACTS = ("clip_id", "source_uri", "sha256", "duplicate_group")
DECIDED = ("category_id", "category_source", "category_confidence", "split")


@dataclass
class ClusterReport:
    """What clustering did.

    Attributes:
        counts: accepted clips by where their category comes from (`label`, `assigned`, `proposed`, `human`,
            `none`), `categories`, `new_categories`, splits (`train`, `val`, `ood`), `changed` rows.
        unassigned: clip id to the reason why it has no category.
        unknown_held_out: held-out names that no category has.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    unassigned: dict[str, str] = field(default_factory=dict)
    unknown_held_out: tuple[str, ...] = ()


def cluster(catalog: Catalog, settings: ClusterSettings, progress: Progress | None = None) -> ClusterReport:
    """Give every accepted clip its category and its split; a second run on the same rows changes nothing.

    A category that a person gave stays. Prototypes are the mean of the members that a label or a person put
    there, so that what is assigned to them does not move them.
    """
    started = monotonic()
    known = {row["category_id"]: row for row in catalog.scan("categories").to_pylist()}
    names = Names(known)
    clips = _read(catalog, names)

    def step(done: int, what: str) -> None:
        if progress:
            progress(done, 4, {"step": what})

    step(1, "labels")
    by_label_or_person(clips, known)
    step(2, "assign")
    by_prototype(clips, prototypes(clips), settings)
    if settings.propose:
        by_cluster(clips, known, settings)
    step(3, "splits")
    held_out = {names.resolve(name) for name in settings.held_out_categories}
    splits = split_of(clips, held_out, settings.val_fraction)
    new = _write_categories(catalog, clips, known)
    changed = _write_clips(catalog, clips, splits)
    step(4, "done")

    present = {clip.category_id for clip in clips}
    counts = {
        source: sum(clip.source == source for clip in clips)
        for source in ("label", "assigned", "proposed", "human")
    }
    counts["none"] = sum(clip.category_id is None for clip in clips)
    counts |= {"categories": len(present - {None}), "new_categories": new, "changed": changed}
    counts |= {split: sum(value == split for value in splits.values()) for split in ("train", "val", "ood")}
    return ClusterReport(
        counts,
        len(clips),
        monotonic() - started,
        {clip.clip_id: clip.reason for clip in clips if clip.reason},
        tuple(sorted(name for name in held_out if name not in present)),
    )


def _read(catalog: Catalog, names: Names) -> list[Clip]:
    """Accepted clips in order of their id."""
    columns = [*FACTS, *DECIDED]
    if "embedding" in catalog.scan("clips", limit=0).column_names:
        columns.append("embedding")
    rows = (
        catalog.scan("clips", columns, where=col("status") == Status.ACCEPTED).sort_by("clip_id").to_pylist()
    )
    labels = _labels(catalog)
    clips = []
    for row in rows:
        label = labels.get(row["source_uri"]) or labels.get(row["clip_id"])
        vector = row.get("embedding")
        clips.append(
            Clip(
                row["clip_id"],
                row["duplicate_group"] or row["sha256"] or row["clip_id"],
                names.resolve(label) if label else None,
                None if vector is None else np.asarray(vector, dtype=np.float64),
                {name: row[name] for name in DECIDED},
            )
        )
    return clips


def _labels(catalog: Catalog) -> dict[str, str]:
    """Normalised label by source uri, and by clip id for clips that a second source, a duplicate, labels."""
    rows = catalog.scan("sources", ["source_uri", "label", "clip_ids"]).sort_by("source_uri").to_pylist()
    labels: dict[str, str] = {}
    for row in rows:
        if label := normalise_label(row["label"]):
            labels[row["source_uri"]] = label
            for clip_id in row["clip_ids"] or ():
                labels.setdefault(clip_id, label)
    return labels


def _write_categories(catalog: Catalog, clips: list[Clip], known: dict[str, dict]) -> int:
    """Add new categories, refresh prototype and size of the others; returns how many are new."""
    vectors = prototypes(clips)
    now = datetime.now(UTC)
    sizes: dict[str, int] = dict.fromkeys(known, 0)
    founders: dict[str, str] = {}
    for clip in clips:
        if clip.category_id:
            sizes[clip.category_id] = sizes.get(clip.category_id, 0) + 1
            founders.setdefault(clip.category_id, clip.source)
    new, fresh = [], []
    for category, size in sorted(sizes.items()):
        vector = vectors.get(category)
        row = {
            "category_id": category,
            "prototype": None if vector is None else vector.astype(np.float32).tolist(),
            "size": size,
            "updated_at": now,
        }
        if category not in known:
            state = "proposed" if founders[category] == "proposed" else "active"
            new.append(row | {"name": category, "aliases": [], "state": state})
        elif known[category]["size"] != size or known[category]["prototype"] != row["prototype"]:
            fresh.append(row)
    catalog.upsert("categories", new)
    catalog.update("categories", fresh)
    return len(new)


def _write_clips(catalog: Catalog, clips: list[Clip], splits: dict[str, str]) -> int:
    now = datetime.now(UTC)
    changed = []
    for clip in clips:
        after = dict(
            zip(DECIDED, (clip.category_id, clip.source, clip.confidence, splits[clip.clip_id]), strict=True)
        )
        if after != clip.before:
            changed.append({"clip_id": clip.clip_id, **after, "updated_at": now})
    for start in range(0, len(changed), ROWS_PER_COMMIT):
        catalog.update("clips", changed[start : start + ROWS_PER_COMMIT])
    return len(changed)
