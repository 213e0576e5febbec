"""`video2lora snapshot`: named states of the catalogue, printed."""

import json
from dataclasses import asdict

from catalog.snapshots import compare, remove, resolve, snapshots, take
from jobs.console import out, print_table
from jobs.workspace import Workspace

_SHOWN = 40


def take_snapshot(workspace: Workspace, name: str, author: str, note: str | None, as_json: bool) -> None:
    """Take one, and say what it holds."""
    catalog = workspace.existing_catalog()
    made = take(catalog, name, author, note)
    clips = compare(catalog.at(made.snapshot), catalog.at(made.snapshot)).clips[0]
    if as_json:
        print(json.dumps(asdict(made) | {"clips": clips}, default=str))
        return
    out.print(f"  {made.name}: {clips} clips that are used", markup=False)


def list_snapshots(workspace: Workspace, as_json: bool) -> None:
    """Print all, the newest first, and the models."""
    catalog = workspace.existing_catalog()
    found = snapshots(catalog)
    models = catalog.scan("models", ["model_id", "created_at"]).to_pylist()
    if as_json:
        print(json.dumps({"snapshots": [asdict(s) for s in found], "models": models}, indent=2, default=str))
        return
    rows = [(each.name, each.created_at, each.author, each.note) for each in found]
    rows += [(f"model:{row['model_id']}", row["created_at"], "", "what it was trained on") for row in models]
    print_table(("name", "taken", "by", "note"), rows, f"{len(found)} snapshots, {len(models)} models")


def compare_snapshots(workspace: Workspace, one: str, other: str, as_json: bool) -> None:
    """Print what differs: counts, then moves from category to category."""
    catalog = workspace.existing_catalog()
    found = compare(resolve(catalog, one), resolve(catalog, other))
    if as_json:
        matrix = [{"from": a, "to": b, "clips": count} for (a, b), count in found.matrix.items()]
        print(json.dumps(asdict(found) | {"matrix": matrix}, indent=2))
        return
    out.print(
        f"  {found.clips[0]} clips in {one}, {found.clips[1]} in {other}: {len(found.came)} came, "
        f"{len(found.went)} went, {len(found.moved)} moved, {len(found.resplit)} in another split",
        markup=False,
    )
    if found.renamed:
        print_table(
            ("was called", "is called"), list(found.renamed.items())[:_SHOWN], f"{len(found.renamed)} renamed"
        )
    if found.matrix:
        moves = [(a, b, count) for (a, b), count in list(found.matrix.items())[:_SHOWN]]
        print_table(("from", "to", "clips"), moves, f"{len(found.matrix)} moves between categories")
    for what in ("categories", "licences", "splits"):
        counts = getattr(found, what)
        changed = [(key, *count) for key, count in counts.items() if count[0] != count[1]]
        if changed:
            print_table((what, one, other), changed[:_SHOWN], f"{len(changed)} of {len(counts)} differ")


def remove_snapshot(workspace: Workspace, name: str) -> None:
    """Forget one."""
    remove(workspace.existing_catalog(), name)
    out.print(f"  {name} is forgotten; `video2lora maintain` frees what it alone kept", markup=False)
