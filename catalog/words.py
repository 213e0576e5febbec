"""Words of a caption or a category name, in the form in which they are compared."""

from __future__ import annotations

from functools import lru_cache

from catalog.text import split_words, without_accents

_SUFFIXES = ("ing", "ed", "es", "s", "e")
# Lucene's, which the index of captions leaves out as well.
_STOP = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these "
    "they this to was will with"
)

# Captions are asked for with every search; longer ones than this are nobody's captions.
_KEPT, _LONGEST = 2**15, 1_000


def words(text: str | None) -> tuple[str, ...]:
    """Lower-case stems without accents, in order: `Exploding Cafés` → `explod`, `caf`."""
    return _words(text) if text is None or len(text) <= _LONGEST else _words.__wrapped__(text)


def telling(text: str) -> tuple[str, ...]:
    """The words of a question that tell captions apart: not `a` and `the`, unless there are no others."""
    found = words(text)
    return tuple(word for word in found if word not in words(_STOP)) or found


@lru_cache(maxsize=_KEPT)
def _words(text: str | None) -> tuple[str, ...]:
    return tuple(_stem(word) for word in split_words(without_accents(text or "")))


def _stem(word: str) -> str:
    """Fold the endings that captions vary in (melt, melts, melted, melting), and no more."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls"
    return word[:-1] if doubled else word
