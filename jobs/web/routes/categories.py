"""Categories: how well each is, one of them in full, and the palette that finds them by a few letters."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from catalog.curation.health import CategoryHealth
from catalog.curation.queue import review_queue
from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.vocabulary import CategoryState, Status
from jobs.web.pages import page
from jobs.web.site import Here, Site
from jobs.web.view import View
from pipeline.video.strip import strip_size

router = APIRouter()

LEAST_LIKE = 12
# How the board may be ordered: by what, and whether the largest comes first.
ORDERS: dict[str, tuple[str, Callable[[CategoryHealth], Any]]] = {
    "name": ("name", lambda each: each.name),
    "size": ("size", lambda each: (-each.size, each.name)),
    "small": ("fewest clips", lambda each: (each.size, each.name)),
    "impure": ("least pure", lambda each: (1.0 if each.purity is None else each.purity, each.name)),
    "duplicates": ("most duplicates", lambda each: (-each.duplicate_share, each.name)),
    "subjects": ("fewest subjects", lambda each: (each.subjects, each.name)),
    "gap": ("least transfer gap", lambda each: (_gap(each), each.name)),
}


@router.get("/categories")
def board(request: Request, site: Here, sort: str = "impure", group: str = "") -> Response:
    """The health board: every category with its figures."""
    rows = site.health()
    groups = sorted({each.group for each in rows if each.group})
    shown = [each for each in rows if not group or each.group == group]
    order = ORDERS.get(sort, ORDERS["impure"])[1]
    return page(
        request,
        "categories.html.j2",
        # What nobody has decided about comes first, in whatever order.
        rows=sorted(shown, key=lambda each: (each.state != CategoryState.PROPOSED, order(each))),
        names={each.category_id: each.name for each in rows},
        orders=ORDERS,
        sort=sort if sort in ORDERS else "impure",
        groups=groups,
        group=group,
    )


@router.get("/category")
def category(request: Request, site: Here, id: str) -> Response:
    """The page of a category: its figures, what looks least like it, and what was done to it."""
    catalog = site.catalog
    names = CategoryNames.load(catalog)
    key = names.id_of(id)
    fact = next(iter(catalog.get("categories", [key]).to_pylist()), None)
    health = site.health_of(key)
    width, height = strip_size(catalog.spec)
    return page(
        request,
        "category.html.j2",
        key=key,
        name=names.name_of(key),
        fact=fact,
        threshold=json.loads((fact and fact["thresholds"]) or "null"),
        health=health,
        names=names,
        least=_least_like(site, key, names.name_of(key)),
        clips=View(chosen={"category": (key,)}).address(),
        copies=View(chosen={"category": (key,), "status": (str(Status.DUPLICATE),)}).address(),
        story=site.log.touching("categories", key),
        as_of=site.last_event(),
        view=View(),
        strip_width=width,
        strip_height=height,
        frame=(catalog.spec.width, catalog.spec.height),
    )


@router.get("/palette")
def palette(
    request: Request, site: Here, typed: str = "", category: str = "", into: str = "", buttons: bool = False
) -> Response:
    """The categories that a few letters may mean, for the form whose field asks.

    Args:
        typed, category, into: the letters, by the name of that field.
        buttons: as buttons that choose one, else as suggestions of the field.
    """
    letters = (typed or category or into)[:200].strip()
    matches = site.palette().matching(letters)
    return page(request, "palette.html.j2", matches=matches, typed=letters, buttons=buttons)


def _least_like(site: Site, key: str, name: str | None) -> list[dict[str, Any]]:
    """The clips of a category that look least like it, as cards show them."""
    try:
        queued = review_queue(site.catalog, key, LEAST_LIKE, reviewed=True, found=site.standing())
    except CatalogError:  # nothing is embedded yet: the page shows what there is
        return []
    columns = ["clip_id", "status", "split", "category_source", "category_confidence", "caption"]
    rows = site.catalog.get("clips", [each.clip_id for each in queued], columns).to_pylist()
    facts = {row["clip_id"]: row for row in rows}
    return [facts[each.clip_id] | {"score": each.likeness, "category": name} for each in queued]


def _gap(each: CategoryHealth) -> float:
    """Those of which it is not known come last."""
    return 1e9 if each.transfer_gap is None else each.transfer_gap
