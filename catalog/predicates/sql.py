"""A filter as Lance reads it, which has it as SQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from lancedb.expr import Expr

if TYPE_CHECKING:
    from lancedb.table import LanceTable

# A text in SQL; a quote inside it is doubled.
_TEXT = re.compile(r"'((?:[^']|'')*)'")


def sql(where: Expr | None, table: Callable[[], LanceTable]) -> str | None:
    """The filter in words, None for none.

    LanceDB's `to_sql` writes two quotes that stand together in a value as it writes one. So where a value has
    quotes, LanceDB itself is asked which rows match, and the filter is their ids.

    Args:
        where: the filter.
        table: opens what is filtered, at the version that will be read.
    """
    if where is None:
        return None
    said = where.to_sql()
    if not any("'" in text for text in _TEXT.findall(said)):
        return said
    query = table().search().select([]).where(where).with_row_id(True)
    rows = query.limit(None).to_arrow()["_rowid"].to_pylist()
    return f"_rowid in ({','.join(map(str, rows))})" if rows else "false"
