"""How many clips there are of each kind: counts beside a search, made by the engine and not row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from lancedb.expr import Expr

from catalog.errors import UnknownColumn
from catalog.hints import nearest
from catalog.names import CategoryNames
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
    schema = catalog.schema("clips")
    words = [field.name for field in schema if pa.types.is_string(field.type)]
    dataset = catalog.tables.handle("clips").to_lance()
    names = CategoryNames.load(catalog) if CATEGORY in columns else None
    found = {}
    for name in columns:
        column = "category_id" if name == CATEGORY else name
        if column not in words:
            raise UnknownColumn(
                f"Clips cannot be counted by {name[:80]!r}{nearest(name, [CATEGORY, *words])}."
            )
        # Both parts are made here: a name of the schema, and an expression that wrote itself.
        filtered = f" WHERE {where.to_sql()}" if where is not None else ""
        query = f'SELECT "{column}" AS value, count(*) AS clips FROM dataset{filtered} GROUP BY "{column}"'
        counts: Counter[str | None] = Counter()
        for batch in dataset.sql(query).build().to_batch_records():
            for row in batch.to_pylist():
                named = names.name_of(row["value"]) if name == CATEGORY and names else row["value"]
                counts[named] += row["clips"]
        found[name] = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0] or ""))
    return found
