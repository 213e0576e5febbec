"""Which clips an act is about: those of some ids, or all that match a filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.errors import NothingSelected, UnknownClip
from catalog.fate import VERDICT
from catalog.predicates import columns_named
from catalog.search.filters import clip_filter
from catalog.store import Catalog

# Digits of an id that say which clip is meant, where there is one only.
_SHORTEST = 4
_NAMED = 3


@dataclass(frozen=True)
class Selection:
    """Clips to act on.

    Attributes:
        clip_ids: whole ids, or beginnings of four digits and more that only one clip has.
        where: a filter as people type it; with `clip_ids` too, those of them that match.
        expected: how many its author counted; others by now are refused.
        found_by: the filter by which the ids were found; None where they were picked one by one.
    """

    clip_ids: tuple[str, ...] = ()
    where: str | None = None
    expected: int | None = None
    found_by: str | None = None

    @classmethod
    def of(cls, clip_ids: Iterable[str]) -> Selection:
        """The clips of these ids."""
        return cls(tuple(clip_ids))

    @classmethod
    def matching(cls, where: str, expected: int | None = None) -> Selection:
        """All clips that match a filter now."""
        return cls(where=where, expected=expected)

    @property
    def means_set_aside(self) -> bool:
        """Whether clips that are not used are meant too: picked by id, or by a filter that asks for them."""
        said = self.found_by if self.clip_ids else self.where
        return said is None or bool(columns_named(said) & set(VERDICT))

    def rows(self, catalog: Catalog, columns: Sequence[str]) -> list[dict[str, Any]]:
        """The clips as they are, by id: `clip_id` and these columns.

        Raises:
            BadFilter: the filter cannot be read.
            UnknownClip: an id that none has, or several begin with.
            NothingSelected: none is left, or not as many as were expected.
        """
        columns = list(dict.fromkeys(("clip_id", *columns)))
        if not self.clip_ids and self.where is None:
            raise NothingSelected("Say which clips: their ids, or a filter, as in \"category = 'melt'\".")
        condition = clip_filter(catalog, self.where) if self.where is not None else None
        if self.clip_ids:
            rows = catalog.get("clips", whole_ids(catalog, self.clip_ids), columns).to_pylist()
            if condition is not None:
                matching = set(catalog.scan("clips", ["clip_id"], condition)["clip_id"].to_pylist())
                rows = [row for row in rows if row["clip_id"] in matching]
        else:
            rows = catalog.scan("clips", columns, condition).to_pylist()
        if self.expected is not None and len(rows) != self.expected:
            raise NothingSelected(
                f"{len(rows)} clips match now, and {self.expected} were expected; nothing was changed. "
                "Look at them again."
            )
        if not rows:
            raise NothingSelected("No clip matches; nothing was changed.")
        return sorted(rows, key=lambda row: row["clip_id"])

    def told(self) -> dict[str, Any]:
        """The selection as the payload of an event keeps it."""
        return {"where": self.where} if self.where is not None else {"clips": len(self.clip_ids)}


def whole_ids(catalog: Catalog, given: Sequence[str]) -> list[str]:
    """The ids that are meant, in order, each once.

    Raises:
        UnknownClip: see `Selection`.
    """
    there = set(catalog.get("clips", list(given), ["clip_id"])["clip_id"].to_pylist())
    if all(each in there for each in given):
        return list(dict.fromkeys(given))
    every = catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist()
    meant = []
    for each in given:
        found = [each] if each in there else [name for name in every if name.startswith(each)]
        if len(each) < _SHORTEST and each not in there:
            found = []
        if not found:
            raise UnknownClip(f"No clip is called {each[:80]!r}; find ids with `video2lora search`.")
        if len(found) > 1:
            some = ", ".join(sorted(found)[:_NAMED])
            raise UnknownClip(f"{len(found)} clips begin with {each!r} ({some}, …); write more of the id.")
        meant.append(found[0])
    return list(dict.fromkeys(meant))
