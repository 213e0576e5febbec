"""The names that a category goes by, and which category a name means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.names import nearest
from catalog.words import words

if TYPE_CHECKING:
    from catalog.store import Catalog


class CategoryNames:
    """Id, name and aliases of every category, as they were when this was loaded.

    Categories that were merged are one: any of their names means all of their ids, and the one that they
    were merged into gives its name.
    """

    def __init__(self, rows: Sequence[dict]) -> None:
        """Args: rows: `category_id`, `name`, `aliases`, `merged_into` of every category."""
        merged = {row["category_id"]: row["merged_into"] for row in rows if row["merged_into"]}
        names = {row["category_id"]: row["name"] or row["category_id"] for row in rows}
        kept = {category_id: _end(category_id, merged) for category_id in names}
        self._names = {category_id: names.get(kept[category_id], names[category_id]) for category_id in names}
        families: dict[str, list[str]] = defaultdict(list)
        for category_id, end in kept.items():
            families[end].append(category_id)
        self._ids: dict[str, list[str]] = defaultdict(list)
        self._words: list[tuple[set[str], str]] = []
        for row in rows:
            ids = families[kept[row["category_id"]]]
            for name in {row["category_id"], row["name"] or "", *(row["aliases"] or ())} - {""}:
                self._ids[_folded(name)] += ids
                self._words += [(set(words(name)), category_id) for category_id in ids]

    @classmethod
    def load(cls, catalog: Catalog) -> CategoryNames:
        """Read the categories of a catalogue."""
        columns = ["category_id", "name", "aliases", "merged_into"]
        return cls(catalog.scan("categories", columns).to_pylist())

    def name_of(self, category_id: str | None) -> str | None:
        """What to call a category; the id itself where it has no name."""
        return self._names.get(category_id, category_id)

    def ids_named(self, name: str) -> list[str]:
        """Ids of the categories with that id, name or alias; case, `_` and `-` make no difference.

        Raises:
            KeyError: none; its argument ends a sentence with the nearest names.
        """
        ids = self._ids.get(_folded(name))
        if ids is None:
            raise KeyError(nearest(name, dict.fromkeys(self._names.values())))
        return list(dict.fromkeys(ids))

    def matching(self, query: Sequence[str]) -> dict[str, float]:
        """By category id, the share (0, 1] of the query's words that its best name holds."""
        wanted = set(query)
        shares: dict[str, float] = {}
        for held, category_id in self._words:
            share = len(wanted & held) / max(1, len(wanted))
            if share > shares.get(category_id, 0.0):
                shares[category_id] = share
        return shares


def _end(category_id: str, merged: dict[str, str]) -> str:
    """The category that a chain of merges ends in."""
    seen = {category_id}
    while (following := merged.get(category_id)) and following not in seen:
        category_id = following
        seen.add(category_id)
    return category_id


def _folded(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
