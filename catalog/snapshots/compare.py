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
    """Clips that are used in two views; categories and licences by what they are called in each.

    Attributes:
        clips: how many in the one and in the other.
        came, went: clip ids, in order.
        moved: by clip id, its category in the one and in the other.
        resplit: by clip id, its split in the one and in the other.
        categories, licences, splits: how many clips of each in the one and in the other.
    """

    clips: tuple[int, int]
    came: tuple[str, ...]
    went: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    resplit: Mapping[str, tuple[str, str]]
    categories: Mapping[str, tuple[int, int]]
    licences: Mapping[str, tuple[int, int]]
    splits: Mapping[str, tuple[int, int]]

    @property
    def matrix(self) -> dict[tuple[str, str], int]:
        """How many clips moved from one category to another, the most first."""
        return dict(Counter(self.moved.values()).most_common())


def compare(one: Catalog, other: Catalog) -> Comparison:
    """What became of the used clips from `one` to `other`; a category that was renamed is another name."""
    before, after = _used(one), _used(other)
    both = sorted(before.keys() & after.keys())
    return Comparison(
        clips=(len(before), len(after)),
        came=tuple(sorted(after.keys() - before.keys())),
        went=tuple(sorted(before.keys() - after.keys())),
        moved=_changed(before, after, both, 0),
        resplit=_changed(before, after, both, 2),
        categories=_counted(before, after, 0),
        licences=_counted(before, after, 1),
        splits=_counted(before, after, 2),
    )


def _used(catalog: Catalog) -> dict[str, tuple[str, str, str]]:
    """Category, licence and split of the clips that are used, by clip id."""
    names = CategoryNames.load(catalog)
    columns = ["clip_id", "category_id", "licence", "split"]
    rows = catalog.scan("clips", columns, col("status") == Status.ACCEPTED).to_pylist()
    return {
        row["clip_id"]: (
            names.name_of(row["category_id"]) or NO_CATEGORY,
            row["licence"] or NO_LICENCE,
            row["split"] or "none",
        )
        for row in rows
    }


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
