"""On what terms the clips that are used stand, and what would be left without some of these terms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lancedb.expr import col

from catalog.errors import UnknownLicence
from catalog.hints import nearest
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import NO_LICENCE, Status

NO_CATEGORY = "none"


@dataclass(frozen=True)
class Terms:
    """One licence: the clips and categories that have it, and the clips of which evidence is known."""

    licence: str
    clips: int
    categories: int
    with_evidence: int


@dataclass(frozen=True)
class WhatIf:
    """The catalogue without clips of some licences.

    Attributes:
        clips: that are used; `lost` of them would go.
        fallen: categories that would have fewer than `least` clips and do not now: clips now and then.
        short: how many have fewer as it is.
        gone: categories that would have none.
    """

    without: tuple[str, ...]
    least: int
    clips: int
    lost: int
    fallen: Mapping[str, tuple[int, int]]
    short: int
    gone: tuple[str, ...]

    def sentence(self) -> str:
        """For a person."""
        named = ", ".join(f"`{each}`" for each in self.without)
        already = f" ({self.short} have fewer as it is)" if self.short else ""
        return (
            f"Without {named} you lose {self.lost:,} of {self.clips:,} clips; {len(self.fallen)} categories "
            f"fall under {self.least}{already}, {len(self.gone)} have none left."
        )


def licences(catalog: Catalog) -> list[Terms]:
    """The terms of the clips that are used, the most common first; not stated ones are "unknown"."""
    clips: Counter[str] = Counter()
    evidence: Counter[str] = Counter()
    categories: dict[str, set[str]] = defaultdict(set)
    for licence, category, told in _used(catalog):
        clips[licence] += 1
        evidence[licence] += told
        categories[licence].add(category)
    order = sorted(clips, key=lambda name: (-clips[name], name))
    return [Terms(name, clips[name], len(categories[name] - {NO_CATEGORY}), evidence[name]) for name in order]


def without(catalog: Catalog, excluded: Sequence[str], least: int = 20) -> WhatIf:
    """What would be left without clips of these licences.

    Args:
        excluded: licences; "unknown" is that of clips that state none.
        least: clips that a category should have.

    Raises:
        UnknownLicence: no clip has one of them; that none is "unknown" is an answer, and no error.
    """
    rows = list(_used(catalog))
    known = {licence for licence, _, _ in rows}
    for each in excluded:
        if each not in known | {NO_LICENCE}:
            raise UnknownLicence(f"No clip that is used has the licence {each[:80]!r}{nearest(each, known)}.")
    now = Counter(category for _, category, _ in rows)
    then = Counter(category for licence, category, _ in rows if licence not in excluded)
    named = sorted(now.keys() - {NO_CATEGORY})
    return WhatIf(
        tuple(excluded),
        least,
        len(rows),
        len(rows) - then.total(),
        {each: (now[each], then[each]) for each in named if now[each] >= least > then[each]},
        sum(now[each] < least for each in named),
        tuple(each for each in named if not then[each]),
    )


def _used(catalog: Catalog) -> list[tuple[str, str, bool]]:
    """Licence, category and whether there is evidence, of every clip that is used."""
    names = CategoryNames.load(catalog)
    columns = ["licence", "licence_evidence", "category_id"]
    rows = catalog.scan("clips", columns, col("status") == Status.ACCEPTED).to_pylist()
    return [
        (
            row["licence"] or NO_LICENCE,
            names.name_of(row["category_id"]) or NO_CATEGORY,
            bool(row["licence_evidence"]),
        )
        for row in rows
    ]
