"""What a data set says of a video may change while the video does not: rows follow, nothing is decoded."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from catalog.names import CategoryNames
from catalog.store import Catalog
from catalog.vocabulary import CategorySource, LicenceSource
from pipeline.sources.source import Source

# Said of a video by its data set; the last five are kept with its clips too.
SAID = ("label", "references", "caption", "source", "generator", "licence", "licence_evidence")
_OF_CLIPS = SAID[2:]
# Columns of clips that follow what is said, or say whether they do.
FOLLOWING = (
    *("category_id", "category_source", "category_confidence", "claimed_category"),
    *("licence_source", "claimed_licence", *_OF_CLIPS),
)


def followed(clip: dict, said: dict, before: dict, names: CategoryNames) -> dict:
    """A clip with what its data set says of it; silence changes nothing, and what a person said stays.

    Where the data set says something new of what a person has decided, that is a claim, which waits for a
    person; see `catalog.curation.conflicts.claims`.

    Args:
        clip: `FOLLOWING` columns of the clip.
        said: of `SAID`, what is said now.
        before: the same as it was said before.
    """
    after = clip | {name: said[name] for name in ("caption", "source", "generator") if said.get(name)}
    licence, label = said.get("licence"), said.get("label")
    if clip["licence_source"] != LicenceSource.HUMAN:
        after |= {name: said[name] for name in ("licence", "licence_evidence") if said.get(name)}
    elif licence and licence != before.get("licence"):
        after["claimed_licence"] = None if licence == clip["licence"] else licence
    if not label:
        return after
    category = names.file_under(label)
    if clip["category_source"] in (None, CategorySource.LABEL):
        after |= {"category_id": category, "category_source": CategorySource.LABEL}
        after["category_confidence"] = 1.0
    elif clip["category_source"] == CategorySource.HUMAN and label != before.get("label"):
        same = names.kept(category) == names.kept(clip["category_id"])
        after["claimed_category"] = None if same else category
    return after


def differences(row: dict, source: Source) -> dict:
    """What `source` says otherwise than its row of `sources`, as columns to write.

    Silence changes nothing: a file that a manifest described keeps its caption in a bare folder.
    """
    said = {name: getattr(source, name) for name in SAID}
    said["references"] = [list(pair) for pair in source.references]
    known = row | {"references": json.loads(row["references"] or "[]")}
    return {name: value for name, value in said.items() if value and value != known[name]}


def refresh(catalog: Catalog, changes: Sequence[tuple[dict, dict]]) -> int:
    """Write changes to sources and to the clips made from them; returns how many clips changed.

    A category that a label gave follows the label; what a person said stays, see `followed`.

    Args:
        changes: row of `sources` (with `clip_ids`), and its `differences`.
    """
    if not changes:
        return 0
    catalog.update("sources", [{"source_uri": row["source_uri"], **said} for row, said in _alike(changes)])
    by_clip = {key: (row, said) for row, said in changes for key in row["clip_ids"] or ()}
    names = CategoryNames.load(catalog)
    now = datetime.now(UTC)
    changed = []
    for clip in catalog.get("clips", list(by_clip), ["clip_id", "source_uri", *FOLLOWING]).to_pylist():
        row, said = by_clip[clip["clip_id"]]
        if clip["source_uri"] != row["source_uri"]:
            continue  # a copy's words are not the original's
        after = followed(clip, said, row, names)
        if after != clip:
            changed.append(after | {"updated_at": now})
    catalog.update("clips", changed)
    return len(changed)


def relabelled(catalog: Catalog, changes: Sequence[tuple[dict, dict]]) -> list[dict]:
    """What `refresh` is about to do where a label is another one than before, for a person to look at.

    Returns:
        `source_uri`, the label `before` and `now`, and `stays_in`: the category of the clip where a person
        gave it, for that stays; None where the clip follows its label.
    """
    changed = [(row, said["label"]) for row, said in changes if row["label"] and "label" in said]
    wanted = [key for row, _ in changed for key in row["clip_ids"] or ()]
    columns = ["clip_id", "category_id", "category_source"]
    clips = catalog.get("clips", wanted, columns).to_pylist() if wanted else []
    given = {c["clip_id"]: c["category_id"] for c in clips if c["category_source"] == CategorySource.HUMAN}
    return [
        {
            "source_uri": row["source_uri"],
            "before": row["label"],
            "now": label,
            "stays_in": next((given[key] for key in row["clip_ids"] or () if key in given), None),
        }
        for row, label in changed
    ]


def _alike(changes: Sequence[tuple[dict, dict]]) -> list[tuple[dict, dict]]:
    """The changes with all columns that any of them has: rows of one update have the same columns."""
    names = sorted({name for _, said in changes for name in said})
    kept = [(row | {"references": json.loads(row["references"] or "null")}, said) for row, said in changes]
    return [(row, {name: said.get(name, row[name]) for name in names}) for row, said in kept]
