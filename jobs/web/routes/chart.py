"""The map: all clips by what they look like; a lasso leads to the grid of what it caught."""

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from catalog.names import CategoryNames
from jobs.web.pages import page, short
from jobs.web.site import Here

router = APIRouter()


@router.get("/map")
def chart(request: Request, site: Here) -> Response:
    """The page; the places come after it."""
    from pipeline.embedding.layout import FEWEST

    newest = site.charts.newest()
    trouble = site.charts.trouble
    embedded = newest is not None or site.charts.drawing or trouble is not None
    few = newest is not None and len(newest.clip_ids) < FEWEST
    return page(request, "map.html.j2", embedded=embedded, trouble=trouble, few=few, fewest=FEWEST)


@router.get("/map.json")
def places(site: Here) -> Response:
    """Clips, their places and categories; 202 while they are being computed, 409 where they cannot be."""
    newest, trouble = site.charts.newest(), site.charts.trouble
    if newest is None and site.charts.drawing:
        return JSONResponse({"drawing": True}, 202)
    if newest is None:
        return JSONResponse({"trouble": trouble or "The clips have no vectors yet."}, 409)
    names = CategoryNames.load(site.catalog)
    rows = site.catalog.scan("clips", ["clip_id", "category_id"])
    category = dict(zip(rows["clip_id"].to_pylist(), rows["category_id"].to_pylist(), strict=True))
    held = [names.kept(category.get(clip)) for clip in newest.clip_ids]
    order = sorted({each for each in held if each is not None})
    number = {each: place for place, each in enumerate(order)}
    return JSONResponse(
        {
            "drawing": site.charts.drawing,
            "trouble": trouble,
            "clips": newest.clip_ids,
            "x": newest.places[:, 0].tolist(),
            "y": newest.places[:, 1].tolist(),
            "category": [-1 if each is None else number[each] for each in held],
            "ids": order,
            "names": [short(names.name_of(each), 60) for each in order],
        },
        headers={"cache-control": "no-store"},
    )
