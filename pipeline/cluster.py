"""Clips to categories and splits: by label, by prototype, or by a cluster that proposes a category."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from time import monotonic

import numpy as np
from lancedb.expr import col

from catalog.acts import apply
from catalog.changes import Change, Kind
from catalog.curation.conflicts import conflicts_of
from catalog.names import CategoryNames, normalise_label
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, CategoryState, Outcome, Split, SplitSource, Status
from pipeline.curation.membership import (
    Clip,
    ClusterSettings,
    by_cluster,
    by_label_or_person,
    by_nearest,
    by_prototype,
    nearness,
    prototypes,
    thresholds,
)
from pipeline.curation.proposals import samples_of, suggest_name
from pipeline.curation.splits import split_of
from training.progress import Progress

__all__ = ["ClusterReport", "ClusterSettings", "cluster"]

ACT = "cluster"
FACTS = ("clip_id", "source_uri", "sha256", "duplicate_group", "caption")
DECIDED = ("category_id", "category_source", "category_confidence", "split")


@dataclass
class ClusterReport:
    """What clustering did.

    Attributes:
        counts: accepted clips by where their category comes from (`label`, `assigned`, `proposed`, `human`,
            `none`), `categories`, `new_categories`, splits (`train`, `val`, `ood`), `changed` rows.
        unassigned: clip id to the reason why it has no category.
        empty_held_out: held-out categories of which no clip is accepted.
        spellings: by category, the labels of its data sets where they are more than one.
        event: what `undo` takes; None where nothing changed.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    unassigned: dict[str, str] = field(default_factory=dict)
    empty_held_out: tuple[str, ...] = ()
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    event: str | None = None


def cluster(
    catalog: Catalog, settings: ClusterSettings, actor: str = "", progress: Progress | None = None
) -> ClusterReport:
    """Give every accepted clip its category and its split, in one act; a second run changes nothing.

    A category that a person gave stays. Prototypes are the mean of the members that a label or a person put
    there, so that what is assigned to them does not move them.

    Raises:
        UnknownCategory: a category is to be held out that no clip and no label names; nothing is changed.
        ChangedMeanwhile: somebody moved these clips while they were sorted.
    """
    started = monotonic()
    known = {row["category_id"]: row for row in catalog.scan("categories").to_pylist()}
    labels = _labels(catalog)
    names = CategoryNames(list(known.values()), filter(None, map(normalise_label, set(labels.values()))))
    held_out = set(names.ids_of(settings.held_out_categories, "cluster.held_out_categories"))
    held_out |= {key for key, row in known.items() if row["held_out"]}
    clips = _read(catalog, names, labels)

    def step(done: int, what: str) -> None:
        if progress:
            progress(done, 4, {"step": what})

    step(1, "labels")
    by_label_or_person(clips, known)
    step(2, "assign")
    limits = thresholds(clips, settings)
    founded = prototypes(clips)
    by_prototype(clips, founded, limits)
    proposals: dict[str, dict] = {}
    if settings.propose:
        groups = by_cluster(clips, known, settings, nearness(limits, settings))
        groups = by_nearest(clips, founded, limits, groups, settings)
        proposals = {name: _proposal(members, clips, founded) for name, members in groups.items()}
    step(3, "splits")
    splits = split_of(clips, held_out, settings.val_fraction) | _said_by_person(catalog, clips, held_out)
    told = {name: limit.as_row() for name, limit in limits.items()}
    new, fresh = _categories(clips, known, told, proposals)
    emptied = _emptied(catalog, fresh, known)
    changes = [
        Change("categories", new, Kind.ADD),
        Change("categories", [row for row in fresh if row["category_id"] not in emptied]),
        Change("categories", [{"category_id": key} for key in sorted(emptied)], Kind.REMOVE),
        Change("clips", _decided(clips, splits), seen=[{"clip_id": c.clip_id, **c.before} for c in clips]),
    ]
    done = apply(catalog, ACT, changes, actor=actor, payload={"settings": settings.model_dump(mode="json")})
    step(4, "done")

    present = {clip.category_id for clip in clips}
    counts: dict[str, int] = {
        source: sum(clip.source == source for clip in clips) for source in CategorySource
    }
    counts["none"] = sum(clip.category_id is None for clip in clips)
    counts |= {"categories": len(present - {None}), "new_categories": len(new)}
    counts |= {"changed": done.changed.get("clips", 0)}
    counts |= {split: sum(value == split for value in splits.values()) for split in Split}
    return ClusterReport(
        counts,
        len(clips),
        monotonic() - started,
        {clip.clip_id: clip.reason for clip in clips if clip.reason},
        tuple(sorted({names.id_of(name) for name in settings.held_out_categories} - present)),
        _spellings(labels, names),
        done.event,
    )


def _said_by_person(catalog: Catalog, clips: Sequence[Clip], held_out: set[str]) -> dict[str, Split]:
    """The splits that a person gave to clips, by id; of a category that is held out none counts."""
    rows = catalog.scan("clips", ["clip_id", "split"], col("split_source") == SplitSource.HUMAN).to_pylist()
    said = {row["clip_id"]: Split(row["split"]) for row in rows}
    return {c.clip_id: said[c.clip_id] for c in clips if c.clip_id in said and c.category_id not in held_out}


def _read(catalog: Catalog, names: CategoryNames, labels: dict[str, str]) -> list[Clip]:
    """Accepted clips in order of their id."""
    told = catalog.scan("sources", ["source_uri", "label", "outcome", "clip_ids"]).to_pylist()
    odds = {key: found.categories for found in conflicts_of(told, names) for key in found.clip_ids}
    columns = [*FACTS, *DECIDED]
    if "embedding" in catalog.schema("clips").names:
        columns.append("embedding")
    rows = catalog.scan("clips", columns, where=col("status") == Status.ACCEPTED)
    clips = []
    for row in rows.sort_by("clip_id").to_pylist():
        torn = odds.get(row["clip_id"], ())
        label = None if torn else labels.get(row["source_uri"]) or labels.get(row["clip_id"])
        vector = row.get("embedding")
        clips.append(
            Clip(
                row["clip_id"],
                row["duplicate_group"] or row["sha256"] or row["clip_id"],
                names.file_under(label),
                None if vector is None else np.asarray(vector, dtype=np.float64),
                {name: row[name] for name in DECIDED},
                at_odds=torn,
                text=row["caption"] or PurePath(row["source_uri"] or "").stem,
            )
        )
    return clips


def _labels(catalog: Catalog) -> dict[str, str]:
    """Label by source uri, and by clip id for clips that a second source, a duplicate, labels."""
    rows = catalog.scan("sources", ["source_uri", "label", "clip_ids", "outcome"]).to_pylist()
    rows.sort(key=lambda row: (row["outcome"] == Outcome.GONE, row["source_uri"]))
    labels: dict[str, str] = {}
    for row in rows:
        if normalise_label(row["label"]):
            labels[row["source_uri"]] = row["label"]
            for clip_id in row["clip_ids"] or ():
                labels.setdefault(clip_id, row["label"])
    return labels


def _spellings(labels: dict[str, str], names: CategoryNames) -> dict[str, tuple[str, ...]]:
    said: dict[str, set[str]] = {}
    for label in set(labels.values()):
        said.setdefault(names.file_under(label) or label, set()).add(label)
    return {category: tuple(sorted(said[category])) for category in sorted(said) if len(said[category]) > 1}


def _proposal(members: Sequence[Clip], clips: Sequence[Clip], founded: Mapping[str, np.ndarray]) -> dict:
    """What a person needs to judge a proposed category: see `categories.proposal`."""
    vectors = np.stack([clip.vector for clip in members])
    samples = samples_of([clip.clip_id for clip in members], vectors)
    middle = vectors.mean(0) / max(np.linalg.norm(vectors.mean(0)), 1e-12)
    cosines = {name: round(float(prototype @ middle), 3) for name, prototype in founded.items()}
    nearest = max(sorted(cosines), key=lambda name: cosines[name], default=None)
    return {
        "name": suggest_name([clip.text for clip in members], (clip.text for clip in clips)),
        "medoid": samples[0],
        "samples": samples,
        "nearest": nearest,
        "similarity": None if nearest is None else cosines[nearest],
    }


def _categories(
    clips: Sequence[Clip], known: dict[str, dict], limits: Mapping[str, dict], proposals: Mapping[str, dict]
) -> tuple[list[dict], list[dict]]:
    """Rows of new categories, and those of known ones with what this run found out about them."""
    vectors = prototypes(clips)
    sizes: dict[str, int] = dict.fromkeys(known, 0)
    founders: dict[str, CategorySource | None] = {}
    for clip in clips:
        if clip.category_id:
            sizes[clip.category_id] = sizes.get(clip.category_id, 0) + 1
            founders.setdefault(clip.category_id, clip.source)
    new, fresh = [], []
    for category, size in sorted(sizes.items()):
        vector = vectors.get(category)
        prototype = None if vector is None else vector.astype(np.float32).tolist()
        row = {"category_id": category, "prototype": prototype, "size": size}
        row |= {"thresholds": _json(limits.get(category)), "proposal": _json(proposals.get(category))}
        if category in known:
            fresh.append(row)
        else:
            proposed = founders[category] == CategorySource.PROPOSED
            state = CategoryState.PROPOSED if proposed else CategoryState.ACTIVE
            new.append(row | {"name": category, "aliases": [], "state": state})
    return new, fresh


def _emptied(catalog: Catalog, fresh: Sequence[dict], known: Mapping[str, dict]) -> set[str]:
    """Proposals that hold no clip any more, also none that is not used, and that nobody has touched."""
    touched = {row["merged_into"] for row in known.values()}
    unused = catalog.scan("clips", ["category_id"], col("status") != Status.ACCEPTED)
    touched |= set(unused["category_id"].to_pylist())
    empty = {row["category_id"] for row in fresh if not row["size"]} - touched
    return {
        key
        for key in empty
        if known[key]["state"] == CategoryState.PROPOSED
        and known[key]["name"] == key
        and not (known[key]["aliases"] or known[key]["group"] or known[key]["held_out"])
    }


def _decided(clips: Sequence[Clip], splits: dict[str, Split]) -> list[dict]:
    return [
        {
            "clip_id": clip.clip_id,
            "category_id": clip.category_id,
            "category_source": clip.source,
            "category_confidence": clip.confidence,
            "split": splits[clip.clip_id],
        }
        for clip in clips
    ]


def _json(value: dict | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)
