"""`video2lora search`: clips by words, by example, by filter, or by all of them."""

import json
from typing import Any

from rich.table import Table

from catalog.names import CategoryNames
from catalog.search import clip_filter, search_text, search_vector
from catalog.store import Catalog
from jobs.console import cell, out
from jobs.errors import NothingToDo
from jobs.workspace import Workspace

# The file's name ends a line, so that a narrow terminal folds the caption and not the clip_id.
SHOWN = ("score", "clip_id", "category", "split", "motion", "caption", "file")
WHOLE = {"score", "clip_id", "split", "motion"}


def search_job(
    workspace: Workspace, query: str | None, like: str | None, where: str | None, limit: int, as_json: bool
) -> None:
    """Search and print a table, or JSON for programs."""
    if query is None and like is None and where is None:
        raise NothingToDo("Say what to look for: words, --like VIDEO, --where FILTER, or several of them.")
    catalog = workspace.existing_catalog()
    rows = find(workspace, catalog, query, like, where, limit)
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


def find(
    workspace: Workspace, catalog: Catalog, query: str | None, like: str | None, where: str | None, limit: int
) -> list[dict[str, Any]]:
    """Rows of `clips` with a `score`, best first.

    With words and an example, the words choose the clips and the example orders them.
    """
    condition = clip_filter(catalog, where) if where else None
    if like is not None:
        pool = catalog.count("clips") if query else limit
        rows = search_vector(catalog, _example(workspace, catalog, like), condition, pool)
        if query:
            named = {row["clip_id"] for row in search_text(catalog, query, condition, pool)}
            rows = [row for row in rows if row["clip_id"] in named][:limit]
    elif query is not None:
        rows = search_text(catalog, query, condition, limit)
    else:
        names = CategoryNames.load(catalog)
        found = catalog.scan("clips", ["clip_id", "category_id"], condition).to_pylist()
        rows = sorted(found, key=lambda row: row["clip_id"])[:limit]
        rows = [{"clip_id": row["clip_id"], "category": names.name_of(row["category_id"])} for row in rows]
    facts = {
        row["clip_id"]: row for row in catalog.get("clips", [row["clip_id"] for row in rows]).to_pylist()
    }
    hidden = {"embedding", "phash"}
    return [{k: v for k, v in facts[r["clip_id"]].items() if k not in hidden} | r for r in rows]


def _example(workspace: Workspace, catalog: Catalog, like: str) -> list[float]:
    """The vector of an example: a clip's own, or that of a video file."""
    known = catalog.get("clips", [like]).to_pylist()
    if known and known[0].get("embedding") is not None:
        return known[0]["embedding"]
    from pipeline.embedding.embedder import Embedder
    from pipeline.example import read_example

    frames = read_example(like, catalog.spec)
    return Embedder(workspace.profile.embed).embed_frames(frames).tolist()
