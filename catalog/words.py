"""Words of a caption or a category name, in the form in which they are compared."""

from __future__ import annotations

from catalog.text import split_words, without_accents

_SUFFIXES = ("ing", "ed", "es", "s", "e")


def words(text: str | None) -> list[str]:
    """Lower-case stems without accents, in order: `Exploding Cafés` → `explod`, `caf`."""
    return [_stem(word) for word in split_words(without_accents(text or ""))]


def _stem(word: str) -> str:
    """Fold the endings that captions vary in (melt, melts, melted, melting), and no more."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls"
    return word[:-1] if doubled else word
