"""How well each category is: its size, its variety, how purely it is itself, what it is mistaken for."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from lancedb.expr import col

from catalog.curation.standing import Numbers, Standing, apart, standing
from catalog.names import CategoryNames
from catalog.search.clips import Clips
from catalog.search.held import NO_VALUE, Codes, Held
from catalog.store import Catalog
from catalog.vocabulary import CategoryState, Split, Status

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
        transfer_gap: of its held-out clips, as the champion (else the newest model that was looked at) had it
            at the end of its training; None where no clip of it was looked at.
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
    transfer_gap: float | None = None


def health(
    catalog: Catalog, column: str = "embedding", found: Standing | None = None, only: str | None = None
) -> list[CategoryHealth]:
    """The figures of every category that is not merged into another, by id.

    Args:
        column: the vectors that purity is measured by; where there are none it is not.
        found: how the clips stand by them, where that is known already.
        only: the one category that is asked for, by its id.
    """
    clips = Clips.of(catalog)
    names = CategoryNames.load(catalog, clips.version)
    facts = {r["category_id"]: r for r in catalog.scan("categories", _FACTS).to_pylist()}
    # As `out_of_domain` has it, of rows that are read anyway.
    held_out = {key for key, fact in facts.items() if fact["held_out"]}
    where = None if only is None else col("category_id").isin(names.members(only))
    words = Held.of(clips, where).words(["category_id", "status", "reviewed_by", "phash", "split"])
    filed, labels = words["category_id"]
    held_out |= {labels[code] for code in np.unique(filed[_is(words["split"], Split.OOD)]).tolist()}
    members = _by_category(filed, [names.kept(each) for each in labels])
    accepted, copied = _is(words["status"], Status.ACCEPTED), _is(words["status"], Status.DUPLICATE)
    unseen, (pictures, hashes) = _is(words["reviewed_by"], None), words["phash"]
    if found is None and column in catalog.schema("clips").names:
        found = standing(catalog, column, many=2)
    pure = purity(found, only) if found else {}
    gaps = transfer_gaps(catalog, names)
    listed = {key for key, row in facts.items() if row["state"] != CategoryState.MERGED} | set(members)
    if only is not None:
        listed &= {only}
    figures = []
    for key in sorted(listed):
        fact, own = facts.get(key, {}), members.get(key, _NOBODY)
        used = own[accepted[own]]
        copies = int(copied[own].sum())
        shown = (hashes[code] for code in np.unique(pictures[used]).tolist())
        share, other, other_share = pure.get(key, (None, None, 0.0))
        figures.append(
            CategoryHealth(
                category_id=key,
                name=names.name_of(key) or key,
                group=fact.get("group"),
                state=CategoryState(fact.get("state") or CategoryState.ACTIVE),
                held_out=key in held_out,
                size=len(used),
                reviewed=len(used) - int(unseen[used].sum()),
                rejected=len(own) - len(used) - copies,
                subjects=apart([each for each in shown if each is not None], _SAME_SUBJECT),
                duplicate_share=copies / max(1, len(used) + copies),
                purity=share,
                confusable=other,
                confusable_share=other_share,
                transfer_gap=gaps.get(key),
            )
        )
    return figures


_FACTS = ["category_id", "group", "state", "held_out"]
_NOBODY = np.zeros(0, dtype=np.int64)


def _is(words: tuple[Codes, list], value: str | None) -> npt.NDArray[np.bool_]:
    """Which rows hold a value."""
    codes, values = words
    return codes == (values.index(value) if value in values else NO_VALUE)


def _by_category(filed: Codes, kept: list[str | None]) -> dict[str, Numbers]:
    """The rows of every category that has some.

    Args:
        filed: the label of each row, by its number.
        kept: the category that each label counts as.
    """
    keys = sorted({kept[code] for code in np.unique(filed).tolist()} - {None})
    number = {key: n for n, key in enumerate(keys)}
    groups = np.array([number.get(key, -1) for key in kept], dtype=np.int64)[filed]
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], range(len(keys) + 1))
    return {key: order[starts[n] : starts[n + 1]] for key, n in number.items()}


def transfer_gaps(catalog: Catalog, names: CategoryNames) -> dict[str, float]:
    """The transfer gap of each category that the champion, else the newest model, was looked at with.

    Of categories that were merged since it is the mean.
    """
    rows = catalog.scan("models", ["metrics", "champion", "created_at"]).to_pylist()
    rows.sort(key=lambda row: (bool(row["champion"]), row["created_at"] is not None, row["created_at"]))
    for row in reversed(rows):
        metrics = json.loads(row["metrics"] or "{}")
        looked = metrics.get("evaluation") if isinstance(metrics, dict) else None
        found: dict[str, list[float]] = defaultdict(list)
        for name, value in (looked or {}).items():
            if name.startswith(_GAP_OF) and (key := names.kept(name.removeprefix(_GAP_OF))) is not None:
                found[key].append(float(value))
        if found:
            return {key: fmean(values) for key, values in found.items()}
    return {}


# As `training.evaluation.while_training` calls the figure of a category.
_GAP_OF = "gap_of/"


def purity(found: Standing, only: str | None = None) -> dict[str, tuple[float, str | None, float]]:
    """Purity, the most confusable category and its share, by category; of those with two clips and more.

    Args:
        found: with the two nearest categories of each clip, or more.
        only: the one category that is asked for.
    """
    result = {}
    second_best = min(1, found.nearest.shape[1] - 1)
    for number, key in enumerate(found.categories):
        if only not in (None, key):
            continue
        rows = (found.groups == number).nonzero()[0]
        if len(rows) < 2:
            continue
        first = found.nearest[rows, 0]
        other, count = _commonest(first[first != number])
        if not count:
            second = found.nearest[rows, second_best]
            other, _ = _commonest(second[second != number])
        named = found.categories[other] if other >= 0 else None
        result[key] = (float((first == number).mean()), named, count / len(rows))
    return result


def _commonest(numbers: Numbers) -> tuple[int, int]:
    """The number that is there most often, of equals the smallest, and how often; (-1, 0) where none is."""
    if not numbers.size:
        return -1, 0
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[counts.argmax()]), int(counts.max())
