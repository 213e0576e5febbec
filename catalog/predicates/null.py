"""Whether a row has a value in a column: what `lancedb.expr` has no words for."""

import pyarrow as pa
from lancedb.expr import Expr, col, func, lit


def is_null(column: str) -> Expr:
    """Rows without a value in `column`, of any type; `lancedb.expr` has no IS NULL of its own.

    `column = column` is true or, for a null, null. `concat` takes a null for nothing, so that the comparison
    as text is empty for a null and for nothing else.
    """
    same = (col(column) == col(column)).cast(pa.string())
    return func("concat", same, lit("")) == lit("")


def not_null(column: str) -> Expr:
    """Rows with a value in `column`."""
    return ~is_null(column)
