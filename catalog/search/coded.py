"""How many clips hold each value of columns of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from catalog.search.clips import Clips
from catalog.search.held import Held

if TYPE_CHECKING:
    from lancedb.expr import Expr


def counts(
    clips: Clips, columns: Sequence[str], where: Expr | None = None
) -> dict[str, dict[str | None, int]]:
    """How many clips hold each value, by column; what has not changed since the last time is not read.

    Args:
        columns: of words.
        where: only these clips.
    """
    found = {}
    for name, (parts, values) in Held.of(clips, where).parts(columns).items():
        numbers = np.zeros(len(values), dtype=np.int64)
        for codes in parts:  # fits into the processor's cache, and all of them do not
            numbers += np.bincount(codes, minlength=len(values))
        found[name] = {value: n for value, n in zip(values, numbers.tolist(), strict=True) if n}
    return found
