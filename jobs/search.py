"""`video2lora search`: clips by words, by example, by filter, or by all of them."""

import json
import os
import sys
import webbrowser
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from catalog.search import clip_filter, facets
from catalog.store import Catalog
from jobs.console import cell, err, out, print_table
from jobs.errors import NothingToDo
from jobs.report.found import write_found
from jobs.web.chart import PICTURES, Charts
from jobs.web.lasso import read_lasso
from jobs.workspace import Workspace
from pipeline.find import Aspect, find_clips

# Without one of these a browser would take over the terminal, or complain into it.
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
# The file's name ends a line, so that a narrow terminal folds the caption and not the clip_id.
SHOWN = ("score", "clip_id", "category", "split", "motion", "caption", "why", "file")
WHOLE = {"score", "clip_id", "split", "motion"}


@dataclass(frozen=True)
class Asked:
    """What is looked for; see `pipeline.find.find_hits`.

    Attributes:
        lasso: a polygon on the map of `video2lora serve`, within which the clips lie.
        by: "look", or "adapter": what makes clips alike to an example; `model` says whose adapters.
    """

    words: str | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    aspect: Aspect = "all"
    where: str | None = None
    lasso: str | None = None
    by: str = "look"
    model: str | None = None

    def __str__(self) -> str:
        said = [("", self.words), *(("--like ", each) for each in self.like)]
        said += [("--unlike ", each) for each in self.unlike]
        said += [("--where ", self.where), ("--lasso ", self.lasso)]
        return " ".join(name + value for name, value in said if value)


def search_job(workspace: Workspace, asked: Asked, limit: int, as_json: bool, show: bool = False) -> None:
    """Search and print a table, or JSON for programs; where `show`, write a page and open it."""
    examples = (*asked.like, *asked.unlike)
    if not (examples or asked.words is not None or asked.where is not None or asked.lasso is not None):
        raise NothingToDo("Say what to look for: words, --like VIDEO, --where FILTER, or several of them.")
    if asked.aspect != "all" and not examples:
        raise NothingToDo(f"--aspect {asked.aspect} is that of an example; give one with --like.")
    catalog = workspace.existing_catalog()
    if not examples and (asked.by == "adapter" or asked.model is not None):
        raise NothingToDo("--by adapter and --model compare an example: add --like VIDEO (or a clip_id).")
    if asked.by == "adapter" and asked.aspect != "all":
        raise NothingToDo("An adapter has no parts: --aspect is of what clips look like, not --by adapter.")
    predictor = None
    if asked.by == "adapter":
        from pipeline.find import LazyPredictor
        from pipeline.models import find_model

        release = find_model(catalog, workspace.folder("models"), asked.model)
        predictor = LazyPredictor(catalog, release, workspace.profile.backbone)
    rows = find_clips(
        catalog,
        asked.words,
        asked.like,
        asked.where,
        limit,
        workspace.profile.embed,
        asked.unlike,
        asked.aspect,
        predictor,
        None if asked.lasso is None else caught(workspace, catalog, asked.lasso),
    )
    if show:
        page = write_found(workspace.root, catalog, rows, str(asked))
        err.print(f"Open {page}", markup=False)
        if sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS):
            webbrowser.open(page.absolute().as_uri())
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    table = Table(box=None, header_style="bold")
    # A filter alone compares nothing.
    shown = [name for name in SHOWN if name != "why" or any(row.get("why") for row in rows)]
    for name in shown:
        right = name in ("score", "motion")
        table.add_column(name, overflow="fold", no_wrap=name in WHOLE, justify="right" if right else "left")
    for row in rows:
        row["file"] = row["source_uri"].rpartition("/")[2]
        table.add_row(*(cell(row.get(name)) for name in shown))
    out.print(table)
    out.print(f"{len(rows)} clips" if rows else "No clip matches.", markup=False)


def caught(workspace: Workspace, catalog: Catalog, lasso: str) -> list[str]:
    """The clips within a lasso, on the map of `video2lora serve`; it is drawn where it is not there.

    Raises:
        BadLasso: a text that is no lasso.
        NoChart: no clip has a vector, or the map could not be drawn.
    """
    corners = np.array(read_lasso(lasso))  # before the map, which may have to be drawn
    return Charts(catalog, workspace.root / PICTURES).drawn().within(corners)


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
