"""`video2lora duplicates list`: groups of clips that show the same, side by side."""

import json
from dataclasses import asdict

from catalog.curation.duplicates import duplicate_groups, reversed_twins
from catalog.names import CategoryNames
from jobs.console import out, print_table
from jobs.workspace import Workspace

_HEADS = ("group", "clip_id", "status", "category", "split", "size", "differs in", "file")


def list_duplicates(workspace: Workspace, as_json: bool) -> None:
    """Print the groups, those that leak first, and the pairs that are one video forwards and backwards."""
    catalog = workspace.existing_catalog()
    groups, twins = duplicate_groups(catalog), reversed_twins(catalog)
    if as_json:
        told = {"groups": [asdict(group) for group in groups], "backwards": twins}
        print(json.dumps(told, indent=2, default=str))
        return
    names = CategoryNames.load(catalog)
    rows = [
        (
            number,
            row["clip_id"],
            row["status"],
            names.name_of(row["category_id"]),
            f"{row['split']}, leaks"
            if row["clip_id"] in {key for pair in group.leaks for key in pair}
            else row["split"],
            f"{row['source_width']}×{row['source_height']}",
            ", ".join(group.differing),
            (row["source_uri"] or "").rpartition("/")[2],
        )
        for number, group in enumerate(groups, start=1)
        for row in group.clips
    ]
    leaking = sum(bool(group.leaks) for group in groups)
    told = (
        f"{len(groups)} groups, {leaking} of them across splits" if groups else "No two clips show the same."
    )
    print_table(_HEADS, rows, told)
    for one, other in twins:
        out.print(f"backwards: {one} and {other} are two effects", markup=False)
