"""One clip: what it shows, where it comes from, its scores, what is like it, and what was done to it."""

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from catalog.names import CategoryNames
from catalog.search import search_vector
from jobs.web.pages import page
from jobs.web.site import Here, Site
from jobs.web.view import ASPECTS, View
from pipeline.video.strip import strip_size

router = APIRouter()

PROVENANCE = (
    *("source_uri", "source", "generator", "sha256", "codec", "container", "source_width", "source_height"),
    *("source_fps", "source_frames", "source_duration", "rotation", "window_start", "window_end"),
    *("time_policy", "fit", "spec_id", "run_id", "created_at", "updated_at"),
)
SCORES = ("motion", "brightness", "blur", "letterbox", "flicker", "cut", "errors")
# What else the page says of it.
SHOWN = (
    *PROVENANCE,
    *SCORES,
    *("clip_id", "status", "split", "reviewed_by", "reviewed_at", "reason", "duplicate_of", "caption"),
    *("category_id", "category_source", "category_confidence", "claimed_category"),
    *("licence", "licence_evidence", "claimed_licence"),
)
NEIGHBOURS = 12


@router.get("/clips/{clip_id}")
def clip(request: Request, site: Here, clip_id: str) -> Response:
    """The page of a clip."""
    seen = ["embedding"] if "embedding" in site.catalog.schema("clips").names else []
    rows = site.catalog.get("clips", [clip_id], [*SHOWN, *seen]).to_pylist()
    if not rows:
        raise HTTPException(404, f"No clip has the id {clip_id[:80]!r}.")
    row = rows[0]
    names = CategoryNames.load(site.catalog)
    source = site.catalog.get("sources", [row["source_uri"] or ""], ["label"]).to_pylist()
    width, height = strip_size(site.catalog.spec)
    return page(
        request,
        "clip.html.j2",
        clip=row,
        category=names.name_of(row["category_id"]),
        claimed=names.name_of(row["claimed_category"]),
        copy_of=row["duplicate_of"],
        provenance=[(name, row[name]) for name in PROVENANCE if row.get(name) is not None],
        label=source[0]["label"] if source else None,
        scores=[(name, row[name]) for name in SCORES if row.get(name) is not None],
        neighbours=_neighbours(site, row),
        story=[(event, _told(changed)) for event, changed in site.log.touching("clips", clip_id)],
        view=View(),
        aspects=ASPECTS,
        as_of=site.last_event(),
        strip_width=width,
        strip_height=height,
        frame=(site.catalog.spec.width, site.catalog.spec.height),
    )


def _neighbours(site: Site, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The clips that look most like it, as cards show them."""
    if row.get("embedding") is None:
        return []
    columns = ["status", "split", "category_source", "category_confidence"]
    hits = search_vector(site.catalog, row["embedding"], limit=NEIGHBOURS + 1, also=columns)
    return [hit for hit in hits if hit["clip_id"] != row["clip_id"]][:NEIGHBOURS]


def _told(changed: dict[str, tuple[Any, Any]]) -> list[tuple[str, str, str]]:
    """The columns that an act changed, before and after, as text."""
    return [
        (name, _text(before), _text(after))
        for name, (before, after) in sorted(changed.items())
        if name not in ("updated_at", "embedding", "phash", "colours")
    ]


def _text(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
