"""How well each category is: its size, its variety, how purely it is itself, what it is mistaken for."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from catalog.curation.clips import out_of_domain
from catalog.curation.standing import Standing, apart, standing
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import CategoryState, Status

# First pictures of which fewer bits differ show the same subject.
_SAME_SUBJECT = 12


@dataclass(frozen=True)
class CategoryHealth:
    """The figures of one category.

    Attributes:
        size: accepted clips; `reviewed` of them by a person.
        rejected: clips that are not used.
        subjects: different first pictures among the accepted; a category of one subject teaches the subject.
        duplicate_share: of the accepted and the duplicates, those that show what another shows.
        purity: share of its clips that are nearer to the others of it than to any other category; None
            before they are embedded, or where it has one clip.
        confusable: the category that most of the others are nearer to, else the one that is nearest on
            average; None where there is no other.
        confusable_share: of its clips.
    """

    category_id: str
    name: str
    group: str | None
    state: CategoryState
    held_out: bool
    size: int
    reviewed: int
    rejected: int
    subjects: int
    duplicate_share: float
    purity: float | None
    confusable: str | None
    confusable_share: float


def health(catalog: Catalog, column: str = "embedding") -> list[CategoryHealth]:
    """The figures of every category that is not merged into another, by id.

    Args:
        column: the vectors that purity is measured by; where there are none it is not.
    """
    names = CategoryNames.load(catalog)
    facts = {r["category_id"]: r for r in catalog.scan("categories", _FACTS).to_pylist()}
    columns = ["category_id", "status", "reviewed_by", "phash"]
    members: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in catalog.scan("clips", columns).to_pylist():
        if (key := names.kept(row["category_id"])) is not None:
            members[key].append(row)
    pure: dict[str, tuple[float, str | None, float]] = {}
    if column in catalog.schema("clips").names:
        pure = purity(standing(catalog, column, many=2))
    held_out = out_of_domain(catalog)
    listed = {key for key, row in facts.items() if row["state"] != CategoryState.MERGED} | set(members)
    found = []
    for key in sorted(listed):
        fact, rows = facts.get(key, {}), members[key]
        used = [row for row in rows if row["status"] == Status.ACCEPTED]
        copies = sum(row["status"] == Status.DUPLICATE for row in rows)
        share, other, other_share = pure.get(key, (None, None, 0.0))
        found.append(
            CategoryHealth(
                category_id=key,
                name=names.name_of(key) or key,
                group=fact.get("group"),
                state=CategoryState(fact.get("state") or CategoryState.ACTIVE),
                held_out=key in held_out,
                size=len(used),
                reviewed=sum(row["reviewed_by"] is not None for row in used),
                rejected=len(rows) - len(used) - copies,
                subjects=apart([row["phash"][0] for row in used if row["phash"]], _SAME_SUBJECT),
                duplicate_share=copies / max(1, len(used) + copies),
                purity=share,
                confusable=other,
                confusable_share=other_share,
            )
        )
    return found


_FACTS = ["category_id", "group", "state"]


def purity(found: Standing) -> dict[str, tuple[float, str | None, float]]:
    """Purity, the most confusable category and its share, by category; of those with two clips and more.

    Args:
        found: with the two nearest categories of each clip.
    """
    result = {}
    for number, key in enumerate(found.categories):
        rows = (found.groups == number).nonzero()[0]
        if len(rows) < 2:
            continue
        first = found.nearest[rows, 0]
        mistaken = Counter(int(each) for each in first if each != number)
        if mistaken:
            other, count = min(mistaken.items(), key=lambda item: (-item[1], item[0]))
        else:
            second = Counter(int(each) for each in found.nearest[rows, -1] if each != number)
            other, count = (max(second, key=lambda n: (second[n], -n)), 0) if second else (-1, 0)
        named = found.categories[other] if other >= 0 else None
        result[key] = (float((first == number).mean()), named, count / len(rows))
    return result
