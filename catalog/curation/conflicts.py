"""Conflicts that wait for a person: one content under labels of several categories, and what data sets say
otherwise than a person did before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lancedb.expr import col

from catalog.acts import Applied
from catalog.changes import Change
from catalog.curation.author import Author
from catalog.curation.clips import PLACE, SPLIT, out_of_domain, placed, signed
from catalog.curation.selection import Selection
from catalog.errors import NoConflict
from catalog.fate import COPIES, copy_of
from catalog.names import CategoryNames
from catalog.predicates import not_null
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, Outcome

_COLUMNS = ["source_uri", "label", "outcome", "clip_ids", "reason_code", "reason"]


@dataclass(frozen=True)
class Conflict:
    """The same content under labels of several categories: `labels` by address, as data sets spell them."""

    clip_ids: tuple[str, ...]
    categories: tuple[str, ...]
    labels: dict[str, str]


def conflicts_of(
    rows: Iterable[dict], names: CategoryNames, decided: Collection[str] = frozenset()
) -> list[Conflict]:
    """Contents whose sources say different things of them; what is gone says nothing any more.

    Args:
        rows: `source_uri`, `label`, `outcome` and `clip_ids` of sources.
        decided: clips of which a person has said what they are: no conflict is left there.
    """
    found = []
    for clip_ids, members in by_content(rows).items():
        categories = sorted({c for row in members if (c := names.file_under(row["label"])) is not None})
        if len(categories) > 1 and not set(clip_ids) <= set(decided):
            labels = {row["source_uri"]: row["label"] for row in members if row["label"]}
            found.append(Conflict(clip_ids, tuple(categories), labels))
    return found


def by_content(rows: Iterable[dict]) -> dict[tuple[str, ...], list[dict]]:
    """Sources that are there, by the clips that hold their content, in order of their address."""
    members: dict[tuple[str, ...], list[dict]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["source_uri"]):
        if row["clip_ids"] and row["outcome"] != Outcome.GONE:
            members[tuple(row["clip_ids"])].append(row)
    return members


def open_conflicts(catalog: Catalog, names: CategoryNames | None = None) -> list[Conflict]:
    """The conflicts of a catalogue that nobody has decided yet."""
    rows = catalog.scan("sources", _COLUMNS).to_pylist()
    return conflicts_of(rows, names or CategoryNames.load(catalog), decided_clips(catalog))


def decided_clips(catalog: Catalog) -> frozenset[str]:
    """The clips whose category a person gave."""
    rows = catalog.scan("clips", ["clip_id"], where=col("category_source") == CategorySource.HUMAN)
    return frozenset(rows["clip_id"].to_pylist())


@dataclass(frozen=True)
class Claim:
    """What a clip's data set says by now, where a person has said otherwise before: to be decided.

    Attributes:
        what: "category" or "licence".
        stands: what the person said, as a name; None for "not known".
        claimed: what the data set says.
    """

    clip_id: str
    source_uri: str | None
    what: str
    stands: str | None
    claimed: str


def claims(catalog: Catalog) -> list[Claim]:
    """The claims that nobody has decided yet, by kind and clip; nothing was overruled by them.

    `decide` (or `clips.move`, or `clips.approve`, which leaves it) is about a category, `clips.set_licence`
    about a licence.
    """
    names = CategoryNames.load(catalog)
    columns = ["clip_id", "source_uri", "category_id", "licence", "claimed_category", "claimed_licence"]
    where = not_null("claimed_category") | not_null("claimed_licence")
    found = []
    for row in catalog.scan("clips", columns, where).sort_by("clip_id").to_pylist():
        key = (row["clip_id"], row["source_uri"])
        if row["claimed_category"]:
            stands = names.name_of(row["category_id"])
            claimed = names.name_of(row["claimed_category"]) or row["claimed_category"]
            found.append(Claim(*key, "category", stands, claimed))
        if row["claimed_licence"]:
            found.append(Claim(*key, "licence", row["licence"], row["claimed_licence"]))
    return sorted(found, key=lambda claim: claim.what)


def decide(catalog: Catalog, clips: Selection, category: str, author: Author) -> Applied:
    """Say which category contents with several labels belong to, or clips of which a data set claims one.

    All clips of such a content go there, as a person's word that no label overrules, and the rows of its
    copies say nothing of a conflict any more.

    Args:
        clips: any clips of the contents that are decided, or such that have a claim.
        category: one that the labels or the claims name or that the catalogue has, in any spelling.

    Raises:
        NoConflict: a clip that waits for no decision; says what its category is.
        UnknownCategory: no label of these contents names it, nor does the catalogue.
        ChangedMeanwhile: somebody else decided first.
    """
    names = CategoryNames.load(catalog)
    rows = catalog.scan("sources", _COLUMNS).to_pylist()
    conflicts = conflicts_of(rows, names, decided_clips(catalog))
    torn = {key: conflict for conflict in conflicts for key in conflict.clip_ids}
    chosen: dict[tuple[str, ...], Conflict] = {}
    for row in clips.rows(catalog, ("category_id", "claimed_category")):
        conflict = torn.get(row["clip_id"])
        if conflict is None and row["claimed_category"]:
            said = (row["claimed_category"], *filter(None, [row["category_id"]]))
            conflict = Conflict((row["clip_id"],), said, {})
        if conflict is None:
            raise _no_conflict(row["clip_id"], names.name_of(row["category_id"]), len(conflicts))
        chosen[conflict.clip_ids] = conflict
    target = names.file_under(category)
    if target is None or any(target not in conflict.categories for conflict in chosen.values()):
        target = names.id_of(category)
    reviewed = signed(author)
    seen = catalog.get(
        "clips", [key for ids in chosen for key in ids], ["clip_id", *PLACE, *SPLIT, *reviewed]
    )
    place = {"category_id": target, "category_source": CategorySource.HUMAN, "category_confidence": 1.0}
    members = by_content(rows)
    changes = [
        placed(seen.to_pylist(), place, target in out_of_domain(catalog), reviewed),
        Change(
            "sources", [row for ids in chosen for row in told_of_copies(members.get(ids, ()), torn=False)]
        ),
    ]
    labels = {uri: label for conflict in chosen.values() for uri, label in conflict.labels.items()}
    return author.apply(catalog, "decide", changes, clips.told() | {"category": target, "labels": labels})


def _no_conflict(clip: str, category: str | None, waiting: int) -> NoConflict:
    what = f"it is in {category!r}" if category else "its sources name no two categories"
    return NoConflict(f"Clip {clip} waits for no decision: {what}; {waiting} contents do.")


def told_of_copies(members: Sequence[dict], torn: bool) -> list[dict]:
    """Rows of `sources` of one content whose reason is not what it ought to be, as they ought to be.

    Args:
        members: `source_uri`, `label`, `reason_code` and `reason` of its sources, in order of their address.
        torn: whether their labels are at odds and nobody has decided.
    """
    if not members:
        return []
    first = next((row for row in members if row["reason_code"] not in COPIES), members[0])
    changed = []
    for row in members:
        if row is first or row["reason_code"] not in COPIES:
            continue
        at_odds = (first["label"], row["label"]) if torn and row["label"] else None
        code, reason = copy_of(first["source_uri"], at_odds)
        if (row["reason_code"], row["reason"]) != (code, reason):
            changed.append({"source_uri": row["source_uri"], "reason_code": code, "reason": reason})
    return changed
