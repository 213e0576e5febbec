"""A lasso: a polygon on the map, as addresses and command lines write it."""

import re
from collections.abc import Sequence

from jobs.errors import JobError

Lasso = tuple[tuple[float, float], ...]
MOST_CORNERS = 100
_CORNER = re.compile(r"-?\d{1,3}\.\d{1,3}_-?\d{1,3}\.\d{1,3}", re.ASCII)


class BadLasso(JobError):
    """A text that is no polygon."""


def read_lasso(text: str) -> Lasso:
    """The corners of `x_y~x_y~x_y`, each number with at most three decimals; none of an empty text.

    Raises:
        BadLasso: it is something else, or has more than `MOST_CORNERS`.
    """
    if not text:
        return ()
    corners = text.split("~")
    if not 3 <= len(corners) <= MOST_CORNERS or not all(_CORNER.fullmatch(each) for each in corners):
        raise BadLasso(f"{text[:40]!r} is no lasso; draw one on the map.")
    return tuple((float(x), float(y)) for x, y in (each.split("_") for each in corners))


def write_lasso(corners: Sequence[tuple[float, float]]) -> str:
    """The text that `read_lasso` reads back."""
    return "~".join(f"{x:.3f}_{y:.3f}" for x, y in corners)
