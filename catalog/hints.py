"""What the reader of an error message probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], many: int = 3) -> str:
    """The end of a sentence: `; did you mean 'a' or 'b'?`-like hint, or all names when few, or nothing.

    Args:
        name: what was typed.
        known: what exists.
        many: how many suggestions at most.
    """
    known = [str(k) for k in known]
    by_folded = {k.casefold(): k for k in known}
    close = get_close_matches(str(name).casefold()[:200], list(by_folded), n=many, cutoff=0.5)
    if close:
        return "; nearest: " + ", ".join(repr(by_folded[c]) for c in close)
    return "; there are: " + ", ".join(map(repr, known)) if 0 < len(known) <= 12 else ""
