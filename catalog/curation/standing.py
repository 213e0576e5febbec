"""How clips stand in their categories by their vectors: near to the others of it, or nearer to another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.expr import Expr

from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.search.clips import Clips
from catalog.search.held import NO_VALUE, Held
from catalog.store import Catalog
from catalog.vectors import Floats
from catalog.vocabulary import Status

Numbers = npt.NDArray[np.int64]
# Clips whose cosines to all categories are held at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class Standing:
    """Accepted clips with vectors, and how near they are to categories.

    Attributes:
        clip_ids: [n]; `groups` [n]: number of the category in `categories`, -1 for none.
        categories: ids, those that were merged counted as the one that is kept, [c].
        own: cosine to the mean of the other clips of its category, [n]; NaN where it is alone or has none.
        nearest: numbers of the categories that are nearest, the own one measured without the clip, [n, k].
        cosines: to these, [n, k].
    """

    clip_ids: list[str]
    groups: Numbers
    categories: list[str]
    own: Floats
    nearest: Numbers
    cosines: Floats

    def of(self, clip_ids: Collection[str]) -> Standing:
        """How some of the clips stand."""
        wanted = set(clip_ids)
        rows = np.array([n for n, each in enumerate(self.clip_ids) if each in wanted], dtype=np.int64)
        kept = [self.clip_ids[n] for n in rows]
        figures = (self.own[rows], self.nearest[rows], self.cosines[rows])
        return Standing(kept, self.groups[rows], self.categories, *figures)


def standing(
    catalog: Catalog, column: str = "embedding", many: int = 5, where: Expr | None = None
) -> Standing:
    """How the accepted clips stand, with the `many` nearest categories of each.

    Args:
        column: vectors of the clips.
        where: only these clips are told of; their categories are made of all.

    Raises:
        CatalogError: nothing is embedded yet.
    """
    schema = catalog.schema("clips")
    if column not in schema.names or not pa.types.is_fixed_size_list(schema.field(column).type):
        raise CatalogError(f"The clips have no vectors {column!r} yet; make them with `video2lora embed`.")
    clips = Clips.of(catalog)
    names = CategoryNames.load(catalog, clips.version)
    held = Held.of(clips)
    words = held.words(["clip_id", "category_id", "status"])
    status, statuses = words["status"]
    vectors = held.vectors(column)
    there = ~np.isnan(vectors[:, 0]) if vectors.shape[1] else np.zeros(len(vectors), dtype=bool)
    accepted = statuses.index(Status.ACCEPTED) if Status.ACCEPTED in statuses else NO_VALUE
    used = np.flatnonzero(there & (status == accepted))
    said, texts = words["clip_id"]
    ids = [texts[code] for code in said[used].tolist()]
    filed, labels = words["category_id"]
    kept = [names.kept(each) for each in labels]
    categories = sorted({kept[code] for code in np.unique(filed[used]).tolist()} - {None})
    number = {each: n for n, each in enumerate(categories)}
    groups = np.array([number.get(each, -1) for each in kept], dtype=np.int64)[filed[used]]
    asked = np.ones(len(ids), dtype=bool)
    if where is not None:
        wanted = set(catalog.scan("clips", ["clip_id"], where)["clip_id"].to_pylist())
        asked = np.array([each in wanted for each in ids], dtype=bool)
    own, nearest, cosines = near(vectors[used], groups, len(categories), many, asked)
    chosen = [each for each, yes in zip(ids, asked, strict=True) if yes]
    return Standing(chosen, groups[asked], categories, own, nearest, cosines)


def near(
    vectors: Floats, groups: Numbers, count: int, many: int, asked: npt.NDArray[np.bool_]
) -> tuple[Floats, Numbers, Floats]:
    """`own`, `nearest` and `cosines` of `Standing` for the rows that are asked for.

    Args:
        vectors: of length one, [n, d].
        groups: [n], -1 for none.
        count: of groups.
        asked: [n].
    """
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float32)
    inside = np.flatnonzero(groups >= 0)
    if inside.size:
        order = inside[np.argsort(groups[inside], kind="stable")]
        there, starts = np.unique(groups[order], return_index=True)
        sorted_ = vectors[order]
        # One after another: `np.add.reduceat` takes ten times as long.
        for group, start, end in zip(there, starts, [*starts[1:], len(order)], strict=True):
            sums[group] = sorted_[start:end].sum(axis=0)
    sizes = np.bincount(groups[inside], minlength=count)
    squared = np.square(sums).sum(axis=1, dtype=np.float64)
    lengths = np.maximum(np.sqrt(squared), 1e-12)
    many = min(many, count)
    own, nearest, cosines = [], [], []
    rows = np.flatnonzero(asked)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        products = vectors[block] @ sums.T
        to_all = products / lengths.astype(np.float32)
        theirs = groups[block]
        mine = np.full(len(block), np.nan, dtype=np.float32)
        company = np.flatnonzero((theirs >= 0) & (sizes[theirs] > 1))
        # Of the others of its group: v·(s - v) / |s - v|, without making every s - v.
        itself = np.square(vectors[block[company]]).sum(axis=1, dtype=np.float64)
        along = products[company, theirs[company]].astype(np.float64)
        between = np.sqrt(np.maximum(squared[theirs[company]] - 2 * along + itself, 1e-24))
        mine[company] = (along - itself) / between
        to_all[company, theirs[company]] = mine[company]
        alone = np.flatnonzero((theirs >= 0) & (sizes[theirs] == 1))
        to_all[alone, theirs[alone]] = -1.0
        own.append(mine)
        nearest.append(_largest(to_all, many))
        cosines.append(np.take_along_axis(to_all, nearest[-1], axis=1))
    if not rows.size:
        return np.zeros(0, np.float32), np.zeros((0, many), np.int64), np.zeros((0, many), np.float32)
    return np.concatenate(own), np.concatenate(nearest), np.concatenate(cosines)


def _largest(rows: Floats, many: int) -> Numbers:
    """Places of the largest values of each row, the largest first; of equals the first."""
    left = rows.copy()
    found = np.zeros((len(rows), many), dtype=np.int64)
    every = np.arange(len(rows))
    for place in range(many):  # few of hundreds or thousands: sorting all of them takes far longer
        found[:, place] = left.argmax(axis=1)
        left[every, found[:, place]] = -np.inf
    return found


def apart(words: Sequence[int], bits: int) -> int:
    """How many different pictures there are among perceptual hashes: one within `bits` of another is none."""
    left = np.unique(np.asarray(words, dtype=np.uint64))
    count = 0
    while left.size:
        left = left[np.bitwise_count(left ^ left[0]) > bits]
        count += 1
    return count
