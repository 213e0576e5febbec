"""What is different between two views of a catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lancedb.expr import col

from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import NO_LICENCE, Status

NO_CATEGORY = "none"


@dataclass(frozen=True)
class Comparison:
    """Clips that are used in two views.

    A category that was renamed is the same one, and no clip of it has moved; one that was merged is another.

    Attributes:
        clips: how many in the one and in the other.
        came, went: clip ids, in order.
        moved: by clip id, what its category is called in the one, and its other category in the other.
        renamed: what categories are called in the one and, in the other, otherwise.
        resplit: by clip id, its split in the one and in the other.
        categories: how many clips of each in the one and in the other, by what it is called in the other.
        licences, splits: how many clips of each in the one and in the other.
    """

    clips: tuple[int, int]
    came: tuple[str, ...]
    went: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    renamed: Mapping[str, str]
    resplit: Mapping[str, tuple[str, str]]
    categories: Mapping[str, tuple[int, int]]
    licences: Mapping[str, tuple[int, int]]
    splits: Mapping[str, tuple[int, int]]

    @property
    def matrix(self) -> dict[tuple[str, str], int]:
        """How many clips moved from one category to another, the most first."""
        return dict(Counter(self.moved.values()).most_common())


def compare(one: Catalog, other: Catalog) -> Comparison:
    """What became of the used clips from `one` to `other`."""
    (before, called), (after, called_now) = _used(one), _used(other)
    both = sorted(before.keys() & after.keys())
    names = called | called_now
    moved = _changed(before, after, both, 0)
    counts = _counted(before, after, 0)
    return Comparison(
        clips=(len(before), len(after)),
        came=tuple(sorted(after.keys() - before.keys())),
        went=tuple(sorted(before.keys() - after.keys())),
        moved={clip: (called[source], called_now[target]) for clip, (source, target) in moved.items()},
        renamed={
            called[key]: called_now[key]
            for key in sorted(called.keys() & called_now.keys())
            if called[key] != called_now[key]
        },
        resplit=_changed(before, after, both, 2),
        categories={names[key]: counts[key] for key in sorted(counts, key=names.__getitem__)},
        licences=_counted(before, after, 1),
        splits=_counted(before, after, 2),
    )


def _used(catalog: Catalog) -> tuple[dict[str, tuple[str, str, str]], dict[str, str]]:
    """Category, licence and split of the clips that are used, by clip id; what categories are called."""
    names = CategoryNames.load(catalog)
    columns = ["clip_id", "category_id", "licence", "split"]
    rows = catalog.scan("clips", columns, col("status") == Status.ACCEPTED).to_pylist()
    used = {
        row["clip_id"]: (
            names.kept(row["category_id"]) or NO_CATEGORY,
            row["licence"] or NO_LICENCE,
            row["split"] or "none",
        )
        for row in rows
    }
    categories = {key for key, _, _ in used.values()} - {NO_CATEGORY}
    return used, {NO_CATEGORY: NO_CATEGORY} | {key: names.name_of(key) or key for key in categories}


def _changed(
    before: Mapping[str, tuple[str, str, str]],
    after: Mapping[str, tuple[str, str, str]],
    both: list[str],
    at: int,
) -> dict[str, tuple[str, str]]:
    return {key: (before[key][at], after[key][at]) for key in both if before[key][at] != after[key][at]}


def _counted(
    before: Mapping[str, tuple[str, str, str]], after: Mapping[str, tuple[str, str, str]], at: int
) -> dict[str, tuple[int, int]]:
    one, other = (Counter(row[at] for row in rows.values()) for rows in (before, after))
    return {key: (one[key], other[key]) for key in sorted(one.keys() | other.keys())}
