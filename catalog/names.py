"""Category names: the rule that many spellings of an effect are one, and which category a name means."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from catalog.errors import UnknownCategory
from catalog.hints import nearest
from catalog.text import folded, split_words
from catalog.words import words

if TYPE_CHECKING:
    from catalog.store import Catalog

# Spellings met in the published data sets that the general rules below do not bring together.
SPELLINGS = {
    "cakeify": "cake_ify",
    "cake": "cake_ify",
    "desslove": "dissolve",
    "disolve": "dissolve",
    "dissolving": "dissolve",
    "melting": "melt",
    "exploding": "explode",
    "explosion": "explode",
    "inflating": "inflate",
    "deflating": "deflate",
    "levitation": "levitate",
    "levitating": "levitate",
    "crushing": "crush",
    "crumbling": "crumble",
    "squishing": "squish",
    "decapitation": "decapitate",
    "eyepop": "eye_pop",
    "eye_popping": "eye_pop",
    "tada": "ta_da",
    "hitchcock": "hitchcock_zoom",
    "dolly_zoom": "hitchcock_zoom",
}
# Characters; a longer label keeps its beginning, and a digest of the whole that tells it from others.
LONGEST = 120
_DIGEST = 8
_WORDS_OF_A_NAME = 6
_KEPT = 16
_LOADED: dict[tuple, CategoryNames] = {}


def normalise_label(label: str | None) -> str | None:
    """The category a raw label names: `Melt`, `Melt it`, `melt_it` and `MELT-IT` are all `melt`.

    Letters, marks, digits and pictographs of any script are kept, everything else separates words; a trailing
    "it" is dropped because the data sets name the same effect with and without it. A label in which nothing
    is kept, such as `!!!`, keeps its own text; blanks, dashes, dots and underscores alone are no label.
    """
    if label is None:
        return None
    parts = split_words(label)
    while len(parts) > 1 and parts[-1] == "it":
        parts.pop()
    own = " ".join(word for word in folded(label).split() if word.isprintable())
    slug = "_".join(parts) or (own if own.strip("-_. ") else "")
    slug = SPELLINGS.get(slug, slug)
    if len(slug) > LONGEST:
        digest = hashlib.sha256(slug.encode()).hexdigest()[:_DIGEST]
        slug = f"{slug[: LONGEST - _DIGEST - 1].rstrip('_')}_{digest}"
    return slug or None


def key_of(name: str) -> str:
    """What all spellings of a name have in common: `Cakeify`, `cake_ify` and `Cake ify` are `cakeify`."""
    return (normalise_label(name) or name).replace("_", "") or name


def _keep(key: tuple, names: CategoryNames) -> None:
    # Threads share this: each keeps what it found, whoever throws the oldest out.
    for oldest in list(_LOADED)[: max(0, len(_LOADED) + 1 - _KEPT)]:
        _LOADED.pop(oldest, None)
    _LOADED[key] = names


class CategoryNames:
    """Id, name and aliases of every category, as they were when this was loaded.

    Categories that were merged are one: any of their names means all of their ids, and the one that they
    were merged into gives its name and takes what is filed under any of them.
    """

    def __init__(self, rows: Sequence[dict], unlisted: Iterable[str] = ()) -> None:
        """Args:
        rows: `category_id`, `name`, `aliases`, `merged_into` of every category.
        unlisted: ids that clips have; those that no row describes, as before `cluster` has run, count as
            categories too, and as the one that only spells them differently.
        """
        rows = sorted(rows, key=lambda row: row["category_id"])
        merged = {row["category_id"]: row["merged_into"] for row in rows if row["merged_into"]}
        self._kept = {row["category_id"]: _end(row["category_id"], merged) for row in rows}
        self._names = {row["category_id"]: row["name"] or row["category_id"] for row in rows}
        self._slugs: dict[str, list[str]] = defaultdict(list)
        self._keys: dict[str, list[str]] = defaultdict(list)
        # By word the numbers of the names that hold it, and the category of each name.
        self._holding: dict[str, list[int]] = defaultdict(list)
        self._said: list[str] = []
        # All ids before all names before all aliases: what a category is comes before what it is called.
        said = [(row, row["category_id"]) for row in rows]
        said += [(row, row["name"]) for row in rows if row["name"]]
        said += [(row, alias) for row in rows for alias in row["aliases"] or () if alias]
        for row, name in said:
            self._add(name, self._kept[row["category_id"]])
        for category_id in sorted(
            set(unlisted) - self._kept.keys(), key=lambda name: (-name.count("_"), name)
        ):
            found = self._found(category_id)
            self._kept[category_id] = found[0] if found else category_id
            self._names[category_id] = self._names.get(self._kept[category_id], category_id)
            self._add(category_id, self._kept[category_id])
        self._families: dict[str, list[str]] = defaultdict(list)
        for category_id, kept in self._kept.items():
            self._families[kept].append(category_id)

    @classmethod
    def load(cls, catalog: Catalog, clips_version: int | None = None) -> CategoryNames:
        """The categories of a catalogue, and those that only its clips name so far.

        What one version of the two tables says is read once: a search asks for it every time.

        Args:
            clips_version: that of the clips, where it is known already.
        """
        if clips_version is None:
            clips_version = catalog.tables.version("clips")
        versions = (catalog.tables.version("categories"), clips_version)
        # A live catalogue may be ahead of these versions by the time it is read, a view of them is not.
        whose = (catalog.uri, catalog.pinned is not None)
        if (found := _LOADED.get((*whose, versions))) is None:
            unlisted = tuple(catalog.distinct("clips", "category_id"))
            # Most changes of clips are of other columns.
            same = (*whose, versions[0], unlisted)
            if (found := _LOADED.get(same)) is None:
                columns = ["category_id", "name", "aliases", "merged_into"]
                found = cls(catalog.scan("categories", columns).to_pylist(), unlisted)
            _keep((*whose, versions), found)
            _keep(same, found)
        return found

    def name_of(self, category_id: str | None) -> str | None:
        """What to call a category; the id itself where it has no name."""
        if category_id is None:
            return None
        kept = self._kept.get(category_id, category_id)
        return self._names.get(kept) or self._names.get(category_id, category_id)

    def ids_named(self, name: str) -> list[str]:
        """Ids of the categories with that id, name or alias, in any spelling of it.

        Raises:
            KeyError: none; its argument ends a sentence with the nearest names.
        """
        found = self._found(name)
        if not found:
            raise KeyError(nearest(name, dict.fromkeys(self._names[kept] for kept in self._kept.values())))
        return list(dict.fromkeys(key for kept in found for key in (kept, *self._families[kept])))

    def id_of(self, name: str) -> str:
        """The one category that a name means, merges followed.

        Raises:
            UnknownCategory: none; the sentence has the nearest names.
        """
        try:
            return self.ids_named(name)[0]
        except KeyError as error:
            raise UnknownCategory(f"No category is called {name[:80]!r}{error.args[0]}.") from None

    def kept(self, category_id: str | None) -> str | None:
        """The category that an id counts as: merges followed, other spellings of a label brought together."""
        return None if category_id is None else self._kept.get(category_id, category_id)

    def members(self, category_id: str) -> list[str]:
        """The ids that count as one category: itself, those merged into it, other spellings of a label."""
        return list(dict.fromkeys((category_id, *self._families.get(category_id, ()))))

    def ids_of(self, names: Iterable[str], setting: str) -> tuple[str, ...]:
        """All ids of the categories that a setting names, those merged into them included, in order.

        Raises:
            UnknownCategory: says which setting names what, and the nearest names.
        """
        ids: set[str] = set()
        for name in names:
            try:
                ids.update(self.ids_named(name))
            except KeyError as error:
                raise UnknownCategory(
                    f"`{setting}` names {name[:80]!r}, and no category is called that{error.args[0]}."
                ) from None
        return tuple(sorted(ids))

    def file_under(self, label: str | None) -> str | None:
        """The category that a label belongs to: a known one, else a new one that is named after it."""
        found = self._found(label) if label else None
        return found[0] if found else normalise_label(label)

    def matching(self, query: str) -> dict[str, float]:
        """The share (0, 1] of the query's words that the best name of a category holds, by category id."""
        wanted = set(words(query))
        best: dict[str, float] = defaultdict(float)
        for number, held in Counter(n for word in wanted for n in self._holding.get(word, ())).items():
            kept = self._said[number]
            best[kept] = max(best[kept], held / len(wanted))
        # Words that together spell a name which is written apart, or the other way round.
        typed = split_words(query)
        for start in range(len(typed)):
            for end in range(start + 1, min(len(typed), start + _WORDS_OF_A_NAME) + 1):
                for kept in self._found("_".join(typed[start:end])):
                    best[kept] = max(best[kept], (end - start) / len(typed))
        return {key: share for kept, share in best.items() if share for key in (kept, *self._families[kept])}

    def _add(self, name: str, kept: str) -> None:
        self._slugs[normalise_label(name) or name].append(kept)
        self._keys[key_of(name)].append(kept)
        for word in set(words(name)):
            self._holding[word].append(len(self._said))
        self._said.append(kept)

    def _found(self, name: str) -> list[str]:
        """Categories with that name, else those with another spelling of it; merges followed, best first."""
        return self._slugs.get(normalise_label(name) or name) or self._keys.get(key_of(name)) or []


def _end(category_id: str, merged: dict[str, str]) -> str:
    """The category that a chain of merges ends in."""
    seen = {category_id}
    while (following := merged.get(category_id)) and following not in seen:
        category_id = following
        seen.add(category_id)
    return category_id
