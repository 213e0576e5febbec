"""Acts about categories: made, taken from a proposal, renamed, merged, split, grouped, held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lancedb.expr import col

from catalog.acts import Applied
from catalog.changes import Change, Kind
from catalog.curation.author import Author
from catalog.curation.clips import PLACE, REVIEWED, SPLIT, out_of_domain, placed, signed
from catalog.curation.naming import free_name, fresh_category, new_category
from catalog.curation.selection import Selection
from catalog.errors import BadAct, UnknownCategory
from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, CategoryState, Split

_ROW = ("category_id", "name", "aliases", "group", "description", "state", "held_out", "merged_into")


def add(
    catalog: Catalog,
    name: str,
    author: Author,
    aliases: Sequence[str] = (),
    group: str | None = None,
    description: str | None = None,
) -> Applied:
    """Make a category that has no clips yet.

    Raises:
        BadName: no name that a category can have, or one that another has.
    """
    names = CategoryNames.load(catalog)
    row = new_category(names, name) | {"aliases": [free_name(names, each) for each in aliases]}
    row |= {"group": group, "description": description}
    return author.apply(catalog, "add", [Change("categories", [row], Kind.ADD)], {"name": row["name"]})


def adopt(catalog: Catalog, category: str, author: Author, name: str | None = None) -> Applied:
    """Make a proposal a category, under a name of its own; its clips stay where clustering put them.

    Raises:
        UnknownCategory, BadName: see `rename`.
    """
    names = CategoryNames.load(catalog)
    row = _row(catalog, names.id_of(category))
    wished = {"category_id": row["category_id"], "state": CategoryState.ACTIVE}
    wished["name"] = free_name(names, name, row["category_id"]) if name else row["name"]
    changes = _written(catalog, [wished], [row])
    return author.apply(catalog, "adopt", changes, {"category": row["category_id"], "name": wished["name"]})


def dismiss(catalog: Catalog, category: str, author: Author) -> Applied:
    """Take a proposal away; its clips go back into the pool of those without a category.

    Raises:
        BadAct: it is no proposal.
    """
    key = CategoryNames.load(catalog).id_of(category)
    row = _row(catalog, key)
    if row["state"] != CategoryState.PROPOSED:
        raise BadAct(
            f"{category!r} is a category and no proposal; move its clips (`video2lora clip move`) or merge "
            "it into another (`video2lora category merge`)."
        )
    clips = _clips(catalog, [key])
    none = dict.fromkeys(PLACE)
    changes = [
        Change("categories", [{"category_id": key}], Kind.REMOVE, seen=[row]),
        Change("clips", [{"clip_id": clip["clip_id"], **none} for clip in clips], seen=clips),
    ]
    return author.apply(catalog, "dismiss", changes, {"category": key})


def rename(catalog: Catalog, category: str, name: str, author: Author) -> Applied:
    """Call a category otherwise; what it was called stays an alias, so that labels find it.

    Raises:
        UnknownCategory: none is called that.
        BadName: no name that a category can have, or one that another has.
    """
    names = CategoryNames.load(catalog)
    row = _row(catalog, names.id_of(category))
    new = free_name(names, name, row["category_id"])
    aliases = [each for each in (*(row["aliases"] or ()), row["name"]) if each and each != new]
    wished = {"category_id": row["category_id"], "name": new, "aliases": list(dict.fromkeys(aliases))}
    payload = {"category": row["category_id"], "name": new}
    return author.apply(catalog, "rename", _written(catalog, [wished], [row]), payload)


def set_aliases(
    catalog: Catalog, category: str, author: Author, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> Applied:
    """Give a category further names, or take some away.

    Raises:
        UnknownCategory, BadName: see `rename`; also an alias that is to go and is none.
    """
    names = CategoryNames.load(catalog)
    row = _row(catalog, names.id_of(category))
    before = row["aliases"] or []
    if missing := [each for each in remove if each not in before]:
        there = ", ".join(map(repr, before)) or "none"
        raise UnknownCategory(f"{missing[0][:80]!r} is no alias of {category!r}; its aliases are: {there}.")
    new = [free_name(names, each, row["category_id"]) for each in add]
    kept = list(dict.fromkeys([*(each for each in before if each not in remove), *new]))
    changes = _written(catalog, [{"category_id": row["category_id"], "aliases": kept}], [row])
    payload = {"category": row["category_id"], "add": new, "remove": list(remove)}
    return author.apply(catalog, "alias", changes, payload)


def merge(catalog: Catalog, categories: Sequence[str], into: str, author: Author) -> Applied:
    """Make several categories one: their clips and names are those of `into` from then on.

    Raises:
        UnknownCategory: none is called that.
        BadAct: a category into itself, or into one that was merged into it.
    """
    names = CategoryNames.load(catalog)
    target = names.id_of(into)
    merged = list(dict.fromkeys(names.id_of(each) for each in categories))
    if not merged or target in merged:
        said = next((each for each in categories if names.id_of(each) == target), into)
        raise BadAct(
            f"{said!r} and {into!r} are one category already ({target}): that merge would go in a circle."
        )
    rows = [_row(catalog, key) for key in (target, *merged)]
    active = any(row["state"] == CategoryState.ACTIVE for row in rows)
    gone = [
        {"category_id": key, "state": CategoryState.MERGED, "merged_into": target, "held_out": None}
        for key in merged
    ]
    state = CategoryState.ACTIVE if active else CategoryState.PROPOSED
    stays = {"category_id": target, "state": state, "merged_into": None, "held_out": rows[0]["held_out"]}
    clips = _clips(catalog, [each for key in merged for each in names.members(key)])
    moved = placed(clips, {"category_id": target}, target in out_of_domain(catalog))
    changes = [*_written(catalog, [*gone, stays], rows), moved]
    return author.apply(catalog, "merge", changes, {"categories": merged, "into": target})


def split(catalog: Catalog, category: str, name: str, clips: Selection, author: Author) -> Applied:
    """Take some clips of a category out into a new one.

    Raises:
        BadAct: some of the clips are of another category, or they are all that it has.
        UnknownCategory, BadName: see `rename`.
    """
    names = CategoryNames.load(catalog)
    key = names.id_of(category)
    ids = names.members(key)
    rows = clips.rows(catalog, (*PLACE, *SPLIT, *REVIEWED))
    foreign = [row["clip_id"] for row in rows if row["category_id"] not in ids]
    if foreign:
        raise BadAct(
            f"{len(foreign)} of the {len(rows)} clips are not in {category!r} ({foreign[0][:12]}, …); name "
            "those of one category, or use `video2lora clip move`."
        )
    if len(rows) == len(_clips(catalog, ids)):
        raise BadAct(f"These are all clips of {category!r}; give it another name with `category rename`.")
    new = new_category(names, name)
    held_out = key in out_of_domain(catalog)
    place = {"category_id": new["category_id"], "category_source": CategorySource.HUMAN}
    place["category_confidence"] = 1.0
    changes = [
        Change("categories", [new | {"held_out": held_out or None}], Kind.ADD),
        placed(rows, place, held_out, signed(author)),
    ]
    payload = clips.told() | {"category": key, "into": new["category_id"]}
    return author.apply(catalog, "split", changes, payload)


def set_group(catalog: Catalog, categories: Sequence[str], group: str | None, author: Author) -> Applied:
    """Put categories under one heading; None takes them out of theirs."""
    names = CategoryNames.load(catalog)
    rows = [_row(catalog, key) for key in dict.fromkeys(names.id_of(each) for each in categories)]
    wished = [{"category_id": row["category_id"], "group": group or None} for row in rows]
    payload = {"categories": [row["category_id"] for row in rows], "group": group}
    return author.apply(catalog, "group", _written(catalog, wished, rows), payload)


def hold_out(catalog: Catalog, category: str, author: Author, held_out: bool = True) -> Applied:
    """Keep a whole category out of training, as one that no model has seen; or let it train again."""
    names = CategoryNames.load(catalog)
    key = names.id_of(category)
    row = _row(catalog, key)
    clips = _clips(catalog, names.members(key))
    wished = {"split": Split.OOD if held_out else Split.TRAIN, "split_source": None}
    seen = [each for each in clips if held_out or each["split"] == Split.OOD]
    changes = [
        *_written(catalog, [{"category_id": key, "held_out": True if held_out else None}], [row]),
        Change("clips", [{"clip_id": each["clip_id"], **wished} for each in seen], seen=seen),
    ]
    return author.apply(catalog, "hold_out" if held_out else "take_in", changes, {"category": key})


def _row(catalog: Catalog, key: str) -> dict[str, Any]:
    """A category as it is; one that clips have as their label alone, before `cluster`, as it would be."""
    rows = catalog.get("categories", [key], list(_ROW)).to_pylist()
    return rows[0] if rows else dict.fromkeys(_ROW) | fresh_category(key, key)


def _written(
    catalog: Catalog, wished: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> list[Change]:
    """The changes that leave categories as wished; those that are labels alone so far are added.

    Args:
        rows: the same categories as they were seen (`_row`).
    """
    there = set(
        catalog.get("categories", [r["category_id"] for r in rows], ["category_id"])[
            "category_id"
        ].to_pylist()
    )
    by_key = {row["category_id"]: row for row in rows}
    new = [by_key[each["category_id"]] | each for each in wished if each["category_id"] not in there]
    known = [each for each in wished if each["category_id"] in there]
    seen = [row for row in rows if row["category_id"] in there]
    return [Change("categories", new, Kind.ADD), Change("categories", known, seen=seen)]


def _clips(catalog: Catalog, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The clips of some categories, with where they belong and what they are for."""
    return catalog.scan("clips", ["clip_id", *PLACE, *SPLIT], col("category_id").isin(list(ids))).to_pylist()
