"""How many clips there are of each kind: the counts beside a search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from lancedb.expr import Expr

from catalog.errors import UnknownColumn
from catalog.hints import nearest
from catalog.names import CategoryNames
from catalog.search.clips import Clips
from catalog.search.coded import counts
from catalog.store import Catalog

CATEGORY = "category"
FACETS = (CATEGORY, "status", "split", "licence", "source")


def facets(
    catalog: Catalog, columns: Sequence[str] = FACETS, where: Expr | None = None
) -> dict[str, list[tuple[str | None, int]]]:
    """Counts of the values of columns, the most common first; None is the clips without one.

    Args:
        catalog: the catalogue, or a view of the past.
        columns: columns of words of the clips, or `category`, whose values are names.
        where: only these clips, see `clip_filter`.

    Raises:
        UnknownColumn: no such column, or one that holds no words.
    """
    clips = Clips.of(catalog)
    words = [field.name for field in clips.schema if pa.types.is_string(field.type)]
    of = {name: "category_id" if name == CATEGORY else name for name in columns}
    for name, column in of.items():
        if column not in words:
            raise UnknownColumn(
                f"Clips cannot be counted by {name[:80]!r}{nearest(name, [CATEGORY, *words])}."
            )
    counted = counts(clips, list(dict.fromkeys(of.values())), where)
    found = {}
    for name, column in of.items():
        numbers = Counter(counted[column])
        if name == CATEGORY:
            names = CategoryNames.load(catalog, clips.version)
            numbers = Counter()
            for category_id, clips_of_it in counted[column].items():
                numbers[names.name_of(category_id)] += clips_of_it
        found[name] = sorted(numbers.items(), key=lambda pair: (-pair[1], pair[0] or ""))
    return found
