"""Acts about clips: whether they are used, where they belong, on what terms, and what they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lancedb.expr import col

from catalog.acts import Applied
from catalog.changes import Change, Kind
from catalog.curation.author import Author
from catalog.curation.naming import new_category
from catalog.curation.pairs import told_apart
from catalog.curation.selection import Selection
from catalog.errors import BadAct, NothingSelected, UnknownCategory
from catalog.fate import BY_PERSON, LICENCE_WITHDRAWN, VERDICT, with_sources
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, LicenceSource, Split, SplitSource, Status

# Who has looked at a clip has seen what its data set says by now.
REVIEWED = ("reviewed_by", "reviewed_at", "claimed_category")
PLACE = ("category_id", "category_source", "category_confidence")
SPLIT = ("split", "split_source")
TERMS = ("licence", "licence_evidence", "licence_source", "claimed_licence")
# What a machine said, and a person has not confirmed.
_GUESSED = (CategorySource.ASSIGNED, CategorySource.PROPOSED)


def approve(catalog: Catalog, clips: Selection, author: Author) -> Applied:
    """Use these clips, and take the category that a machine gave them as theirs; later `judge`s leave them.

    What a data set says by now of a clip that a person has placed is turned down by it.

    One that was marked as the copy of another is remembered as different from it. A filter that does not ask
    for clips that were set aside leaves them there: who approves a category does not mean what was rejected.

    Raises:
        NothingSelected: see `Selection.rows`; or all that match were set aside.
    """
    columns = (*VERDICT, *PLACE, *REVIEWED)
    matching = clips.rows(catalog, columns)
    rows = [row for row in matching if clips.means_set_aside or row["status"] == Status.ACCEPTED]
    left_out = len(matching) - len(rows)
    if not rows:
        raise NothingSelected(
            f"All that match ({left_out}) were rejected or are copies; nothing was changed. "
            "Ask for them in the filter, as in \"status = 'rejected'\", to bring them back."
        )
    accepted = {**dict.fromkeys(VERDICT), "status": Status.ACCEPTED}
    wished, seen, apart = [], [], []
    for row in rows:
        guessed = row["category_source"] in _GUESSED
        seen_before = row["status"] == Status.ACCEPTED and row["reviewed_by"] and not row["claimed_category"]
        if seen_before and not guessed:
            continue
        if row["duplicate_of"]:
            apart.append((row["clip_id"], row["duplicate_of"]))
        place = {name: row[name] for name in PLACE}
        if guessed:
            place |= {"category_source": CategorySource.HUMAN, "category_confidence": 1.0}
        verdict = accepted | {"duplicate_group": row["duplicate_group"]}
        wished.append({"clip_id": row["clip_id"], **verdict, **place, **signed(author)})
        seen.append(row)
    changes = [*with_sources(catalog, wished, seen), *told_apart(catalog, apart, author)]
    told = {"left_out": left_out} if left_out else {}
    done = author.apply(catalog, "approve", changes, clips.told() | told)
    return replace(done, left_out=left_out)


def reject(catalog: Catalog, clips: Selection, author: Author, reason: str | None = None) -> Applied:
    """Keep these clips out of everything; they keep their media, and later `judge`s leave them."""
    return _set_aside(catalog, "reject", clips, author, BY_PERSON, reason, "A person rejected it.")


def withdraw(catalog: Catalog, clips: Selection, author: Author, reason: str | None = None) -> Applied:
    """Keep clips out of everything because their terms do not hold any more.

    Models that trained on them are marked from then on (`champions.marks`), and retraining is due.
    """
    said = "Its licence was withdrawn."
    return _set_aside(catalog, "withdraw", clips, author, LICENCE_WITHDRAWN, reason, said)


def move(catalog: Catalog, clips: Selection, category: str, author: Author, new: bool = False) -> Applied:
    """Put clips into a category, by any of its names; nothing takes them out again but another act.

    In a category that is held out they are out of domain from then on, and outside of it they train.

    Args:
        new: where no category is called that, make it, in the same act: undone, it is gone again.

    Raises:
        UnknownCategory: none is called that.
        BadName: no new category can be.
    """
    names = CategoryNames.load(catalog)
    added: list[dict[str, Any]] = []
    try:
        target = names.id_of(category)
    except UnknownCategory:
        if not new:
            raise
        added = [new_category(names, category)]
        target = added[0]["category_id"]
    rows = clips.rows(catalog, (*PLACE, *SPLIT, *REVIEWED))
    place = {"category_id": target, "category_source": CategorySource.HUMAN, "category_confidence": 1.0}
    settled = place | {"claimed_category": None}
    rows = [row for row in rows if any(row[name] != value for name, value in settled.items())]
    changes = [
        Change("categories", added, Kind.ADD),
        placed(rows, place, target in out_of_domain(catalog), signed(author)),
    ]
    return author.apply(catalog, "move", changes, clips.told() | {"category": target})


def set_licence(
    catalog: Catalog, clips: Selection, licence: str | None, author: Author, evidence: str | None = None
) -> Applied:
    """State the terms of clips and where they are stated; None says that they are not known.

    No data set overrules it: where one says something else later, the clip waits for the next such act
    (`conflicts.claims`).
    """
    wished = {"licence": licence or None, "licence_evidence": evidence or None}
    wished |= {"licence_source": LicenceSource.HUMAN, "claimed_licence": None}
    return _set(catalog, "licence", clips, wished, author)


def set_split(catalog: Catalog, clips: Selection, split: str, author: Author) -> Applied:
    """Say which clips train and which validate; `cluster` leaves them there.

    Raises:
        BadAct: a category is out of domain as a whole or not at all; or `split` is none.
    """
    if split not in list(Split):
        raise BadAct(f"{split[:40]!r} is no split; a clip is for 'train' or for 'val'.")
    if split == Split.OOD:
        raise BadAct(
            "A category is out of domain as a whole: a model that trains on some of its clips has seen it. "
            "Use `video2lora category hold-out NAME`."
        )
    rows = clips.rows(catalog, ("category_id",))
    if held := sorted({row["category_id"] for row in rows} & out_of_domain(catalog)):
        raise BadAct(
            f"{len(held)} of the categories of these clips are out of domain ({', '.join(held[:3])}), and "
            f"stay so as a whole. `video2lora category take-in {held[0]}` ends that."
        )
    return _set(catalog, "split", clips, {"split": split, "split_source": SplitSource.HUMAN}, author)


def out_of_domain(catalog: Catalog) -> set[str]:
    """Ids of the categories that are held out as a whole."""
    said = catalog.scan("categories", ["category_id"], col("held_out") == True)["category_id"]  # noqa: E712
    found = catalog.scan("clips", ["category_id"], col("split") == Split.OOD)["category_id"]
    return {each for each in (*said.to_pylist(), *found.to_pylist()) if each}


def placed(
    rows: Sequence[dict[str, Any]],
    place: dict[str, Any],
    held_out: bool,
    also: dict[str, Any] | None = None,
) -> Change:
    """The change that puts clips into a category, and with it into or out of training.

    Args:
        rows: the clips as they are, with `SPLIT` and what `place` and `also` change.
        place: columns of `PLACE` to set.
        held_out: whether the category is out of domain.
        also: further columns to set.
    """
    wished = [
        {"clip_id": row["clip_id"], **place, **_split_in(held_out, row), **(also or {})} for row in rows
    ]
    return Change("clips", wished, seen=rows)


def signed(author: Author) -> dict[str, Any]:
    """The columns that say who looked at a clip."""
    return {"reviewed_by": author.name, "reviewed_at": datetime.now(UTC), "claimed_category": None}


def _set_aside(
    catalog: Catalog, act: str, clips: Selection, author: Author, code: str, reason: str | None, said: str
) -> Applied:
    rows = clips.rows(catalog, (*VERDICT, *REVIEWED))
    verdict = {**dict.fromkeys(VERDICT), "status": Status.REJECTED, "reason_code": code}
    verdict["reason"] = reason or said
    wished = [
        {"clip_id": row["clip_id"], **verdict, **signed(author)}
        for row in rows
        if any(row[name] != value for name, value in verdict.items())
    ]
    seen = _of(rows, wished)
    return author.apply(catalog, act, with_sources(catalog, wished, seen), clips.told() | {"reason": reason})


def _set(catalog: Catalog, act: str, clips: Selection, wished: dict[str, Any], author: Author) -> Applied:
    rows = clips.rows(catalog, tuple(wished))
    changes = [Change("clips", [{"clip_id": row["clip_id"], **wished} for row in rows], seen=rows)]
    return author.apply(catalog, act, changes, clips.told() | wished)


def _split_in(held_out: bool, row: dict[str, Any]) -> dict[str, Any]:
    if held_out:
        return {"split": Split.OOD, "split_source": None}
    kept = {name: row[name] for name in SPLIT}
    return {"split": Split.TRAIN, "split_source": None} if row["split"] == Split.OOD else kept


def _of(rows: Sequence[dict[str, Any]], wished: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that some are wished for."""
    ids = {row["clip_id"] for row in wished}
    return [row for row in rows if row["clip_id"] in ids]
