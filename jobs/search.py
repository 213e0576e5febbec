"""`video2lora search`: clips by words, by example, by filter, or by all of them."""

import json
import os
import sys
import webbrowser

from rich.table import Table

from catalog.search import clip_filter, facets
from jobs.console import cell, err, out, print_table
from jobs.errors import NothingToDo
from jobs.report.found import write_found
from jobs.workspace import Workspace
from pipeline.find import find_clips

# The file's name ends a line, so that a narrow terminal folds the caption and not the clip_id.
# Without one of these a browser would take over the terminal, or complain into it.
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
SHOWN = ("score", "clip_id", "category", "split", "motion", "caption", "file")
WHOLE = {"score", "clip_id", "split", "motion"}


def search_job(
    workspace: Workspace,
    query: str | None,
    like: str | None,
    where: str | None,
    limit: int,
    as_json: bool,
    show: bool = False,
    by: str = "look",
    model: str | None = None,
) -> None:
    """Search and print a table, or JSON for programs; where `show`, write a page and open it."""
    if query is None and like is None and where is None:
        raise NothingToDo("Say what to look for: words, --like VIDEO, --where FILTER, or several of them.")
    catalog = workspace.existing_catalog()
    if like is None and (by == "adapter" or model is not None):
        raise NothingToDo("--by adapter and --model compare an example: add --like VIDEO (or a clip_id).")
    predictor = None
    if by == "adapter":
        from pipeline.find import LazyPredictor
        from pipeline.studio import find_model

        release = find_model(catalog, workspace.folder("models"), model)
        predictor = LazyPredictor(catalog, release, workspace.profile.backbone)
    rows = find_clips(catalog, query, like, where, limit, workspace.profile.embed, by=predictor)
    if show:
        asked = " ".join(filter(None, (query, like and f"--like {like}", where and f"--where {where}")))
        page = write_found(workspace.root, catalog, rows, asked)
        err.print(f"Open {page}", markup=False)
        if sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS):
            webbrowser.open(page.absolute().as_uri())
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    table = Table(box=None, header_style="bold")
    for name in SHOWN:
        right = name in ("score", "motion")
        table.add_column(name, overflow="fold", no_wrap=name in WHOLE, justify="right" if right else "left")
    for row in rows:
        row["file"] = row["source_uri"].rpartition("/")[2]
        table.add_row(*(cell(row.get(name)) for name in SHOWN))
    out.print(table)
    out.print(f"{len(rows)} clips" if rows else "No clip matches.", markup=False)


def count_job(workspace: Workspace, where: str | None, as_json: bool) -> None:
    """Print how many clips there are of each kind, of those that a filter leaves."""
    catalog = workspace.existing_catalog()
    found = facets(catalog, where=clip_filter(catalog, where) if where else None)
    if as_json:
        told = {name: [{"value": v, "clips": n} for v, n in counts] for name, counts in found.items()}
        print(json.dumps(told, indent=2))
        return
    for name, counts in found.items():
        print_table((name, "clips"), [(v or "none", n) for v, n in counts], f"{len(counts)} values")
