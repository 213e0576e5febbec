"""Categories by the first letters that somebody types: names and aliases, of thousands of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.text import folded
from catalog.vocabulary import CategoryState


@dataclass(frozen=True)
class Match:
    """A category that what was typed may mean; `alias` where that, and not the name, was found."""

    category_id: str
    name: str
    alias: str | None = None


class Palette:
    """The spellings of all categories that are not merged into another."""

    def __init__(self, categories: Iterable[tuple[str, str, Iterable[str]]]) -> None:
        """Args:
        categories: id, name and aliases of each.
        """
        self._spellings = [
            (_plain(spelling), Match(category_id, name, None if spelling == name else spelling))
            for category_id, name, aliases in categories
            for spelling in dict.fromkeys((name, *aliases))
        ]

    @classmethod
    def load(cls, catalog: Catalog) -> Palette:
        """The palette of a catalogue as it is now."""
        names = CategoryNames.load(catalog)
        columns = ["category_id", "name", "aliases", "state"]
        rows = {row["category_id"]: row for row in catalog.scan("categories", columns).to_pylist()}
        listed = [row for row in rows.values() if row["state"] != CategoryState.MERGED]
        found = [(r["category_id"], r["name"] or r["category_id"], r["aliases"] or ()) for r in listed]
        unlisted = sorted(set(catalog.distinct("clips", "category_id")) - rows.keys())
        found += [(key, names.name_of(key) or key, ()) for key in unlisted if names.kept(key) == key]
        return cls(found)

    def matching(self, typed: str, limit: int = 9) -> list[Match]:
        """The categories that may be meant, the likeliest first, each once.

        The whole name comes before a beginning, that before the beginning of a word, any part, and letters
        in order; of equals the shorter one comes first.
        """
        wanted = _plain(typed)
        if not wanted:
            return []
        ranked = []
        for spelling, match in self._spellings:
            if (rank := _rank(wanted, spelling)) is not None:
                ranked.append((rank, len(spelling), spelling, match))
        ranked.sort(key=lambda each: each[:3])
        best: dict[str, Match] = {}
        for *_, match in ranked:
            best.setdefault(match.category_id, match)
            if len(best) == limit:
                break
        return list(best.values())


def _plain(text: str) -> str:
    return " ".join(folded(text).replace("_", " ").replace("-", " ").split())


def _rank(typed: str, spelling: str) -> int | None:
    if typed == spelling:
        return 0
    if spelling.startswith(typed):
        return 1
    if f" {typed}" in spelling:
        return 2
    if typed in spelling:
        return 3
    letters = iter(spelling)
    return 4 if len(typed) > 1 and all(letter in letters for letter in typed) else None
