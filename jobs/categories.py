"""`video2lora category list` and `clip queue`: how the categories are, and what waits for a person."""

import json
from dataclasses import asdict

from catalog.curation.health import health
from catalog.curation.queue import review_queue
from catalog.names import CategoryNames
from catalog.vocabulary import CategoryState
from jobs.console import print_table
from jobs.workspace import Workspace

_HEALTH = (
    "name",
    "group",
    "state",
    "size",
    "reviewed",
    "subjects",
    "purity",
    "confusable",
    "duplicates",
    "gap",
)


def list_categories(workspace: Workspace, as_json: bool) -> None:
    """Print every category with its figures; proposals, which wait for a person, come first."""
    catalog = workspace.existing_catalog()
    found = health(catalog)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    names = CategoryNames.load(catalog)
    found = sorted(found, key=lambda each: each.state != CategoryState.PROPOSED)
    rows = [
        (
            each.name,
            each.group,
            "out of domain" if each.held_out else each.state,
            each.size,
            each.reviewed,
            each.subjects,
            each.purity,
            f"{names.name_of(each.confusable)} {each.confusable_share:.0%}" if each.confusable else None,
            f"{each.duplicate_share:.0%}",
            each.transfer_gap,
        )
        for each in found
    ]
    print_table(_HEALTH, rows, f"{len(rows)} categories" if rows else "There is no category yet.")


def print_queue(workspace: Workspace, category: str | None, limit: int, again: bool, as_json: bool) -> None:
    """Print the clips that wait for a person, with what they look like."""
    catalog = workspace.existing_catalog()
    found = review_queue(catalog, category, limit, reviewed=again)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    names = CategoryNames.load(catalog)
    rows = [
        (
            each.likeness,
            each.clip_id,
            names.name_of(each.category_id),
            ", ".join(f"{names.name_of(key)} {cosine:.2f}" for key, cosine in each.predictions),
        )
        for each in found
    ]
    heads = ("likeness", "clip_id", "category", "looks like")
    print_table(heads, rows, f"{len(rows)} clips" if rows else "No clip waits for a person.")
