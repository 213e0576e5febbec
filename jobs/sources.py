"""`video2lora sources`: what became of the inputs, as a table, as JSON and as a page."""

import getpass
import json
from pathlib import Path

from lancedb.expr import col
from rich.table import Table

from catalog.store import Catalog
from catalog.vocabulary import Outcome
from jobs.console import cell, out
from jobs.job import Job, say
from jobs.report.render import render
from jobs.workspace import Workspace

SHOWN = ("outcome", "reason_code", "label", "source_uri", "reason")


def sources_job(workspace: Workspace, rejected: bool, as_json: bool, page: bool) -> None:
    """Print the inputs; those that made no clip of their own where `rejected`."""
    rows = listed(workspace.existing_catalog(), rejected)
    if page:
        out.print(f"Open {write_page(workspace.root, rows)}", markup=False)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for name in SHOWN:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row[name]) for name in SHOWN))
    out.print(table)
    out.print(f"{len(rows)} inputs" if rows else "No input is of that kind.", markup=False)


def listed(catalog: Catalog, rejected: bool) -> list[dict]:
    """Rows of `sources`, by outcome, reason and address."""
    where = col("outcome") != Outcome.ACCEPTED if rejected else None
    rows = catalog.scan("sources", [*SHOWN, "window", "clip_ids"], where=where).to_pylist()
    return sorted(rows, key=lambda row: (row["outcome"] or "", row["reason_code"] or "", row["source_uri"]))


def write_page(root: Path, rows: list[dict]) -> Path:
    """A page of all of them, which opens from disk."""
    return render(
        root / "sources.html", "sources.html.j2", title="Inputs", subtitle=root, rows=rows, columns=SHOWN
    )


def set_aside_job(workspace: Workspace) -> None:
    """Reject the clips whose files are gone; one act, which can be taken back."""
    from catalog.curation.set_aside import set_aside_gone

    workspace.existing_catalog()
    with Job("sources", workspace, ray=False) as job:
        event, clips = set_aside_gone(job.catalog, getpass.getuser())
        job.report["set_aside"] = {"event": event, "clips": clips}
        say(f"  {len(clips)} clips whose files are gone are set aside")
        if event:
            say(f"  take it back with `video2lora judge --undo {event}`")
