"""The review queue: the clips that look least like their category come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
from lancedb.expr import col

from catalog.curation.standing import Standing, standing
from catalog.names import CategoryNames
from catalog.predicates import is_null
from catalog.store import Catalog


@dataclass(frozen=True)
class Queued:
    """A clip that waits for a person.

    Attributes:
        likeness: cosine to the mean of the others of its category, -1 to 1; None where it is alone in it or
            has none.
        predictions: the nearest categories with their cosine, the nearest first.
    """

    clip_id: str
    category_id: str | None
    likeness: float | None
    predictions: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ReviewQueue(Sequence[Queued]):
    """Clips in the order in which they wait; each is made when it is looked at, for there may be a million.

    Attributes:
        found: how they stand.
        order: places in `found`.
    """

    found: Standing
    order: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, place: int) -> Queued: ...
    @overload
    def __getitem__(self, place: slice) -> ReviewQueue: ...
    def __getitem__(self, place: int | slice) -> Queued | ReviewQueue:
        if isinstance(place, slice):
            return ReviewQueue(self.found, self.order[place])
        found, n = self.found, int(self.order[place])
        nearest = zip(found.nearest[n], found.cosines[n], strict=True)
        return Queued(
            found.clip_ids[n],
            None if found.groups[n] < 0 else found.categories[found.groups[n]],
            None if np.isnan(found.own[n]) else float(found.own[n]),
            tuple((found.categories[group], float(cosine)) for group, cosine in nearest),
        )


def review_queue(
    catalog: Catalog,
    category: str | None = None,
    limit: int | None = 50,
    column: str = "embedding",
    reviewed: bool = False,
    many: int = 5,
    found: Standing | None = None,
) -> ReviewQueue:
    """Accepted clips for review: without a category first, then those least like theirs.

    Args:
        category: only its clips, by any of its names.
        limit: at most so many; None for all.
        column: the vectors that are compared.
        reviewed: also clips that a person has looked at.
        many: predictions for each.
        found: how all clips stand, where that is known already.

    Raises:
        UnknownCategory: none is called that.
        CatalogError: nothing is embedded yet.
    """
    names = CategoryNames.load(catalog)
    where = None if reviewed else is_null("reviewed_by")
    key = names.id_of(category) if category is not None else None
    if found is not None and key is not None:
        # Whoever stands in it is known already.
        number = found.categories.index(key) if key in found.categories else -2
        found = found.of([found.clip_ids[n] for n in np.flatnonzero(found.groups == number)])
    elif key is not None:
        inside = col("category_id").isin(names.members(key))
        where = inside if where is None else where & inside
    if found is None:
        found = standing(catalog, column, many, where)
    elif where is not None:
        found = found.of(catalog.scan("clips", ["clip_id"], where)["clip_id"].to_pylist())
    # A clip alone in its category cannot be unlike the others: it comes last.
    rank = np.where(np.isnan(found.own), np.where(found.groups < 0, -2.0, 2.0), found.own)
    order = sorted(range(len(found.clip_ids)), key=lambda n: (rank[n], found.clip_ids[n]))
    return ReviewQueue(found, np.array(order[: None if limit is None else max(0, limit)], dtype=np.int64))
