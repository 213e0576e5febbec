"""The review queue, by keyboard: what looks least like its category first, five guesses, and the palette."""

from fastapi import APIRouter, Request, Response

from catalog.errors import CatalogError
from catalog.names import CategoryNames
from jobs.web.pages import link, page
from jobs.web.site import Here
from pipeline.video.strip import strip_size

router = APIRouter()

# What the page says of a clip: to read all columns, its vector among them, takes thrice as long.
SHOWN = (
    *("clip_id", "caption", "source_uri", "category_id", "category_source", "status"),
    "reviewed_by",
)


@router.get("/review")
def review(
    request: Request,
    site: Here,
    category: str = "",
    at: int = 0,
    reviewed: bool = False,
    last: str = "",
    again: bool = False,
) -> Response:
    """One clip of the queue.

    Args:
        category: only its clips; empty for all.
        at: place in the queue as it was computed; `again` computes it anew.
        reviewed: also what a person has looked at.
        last: the category that `.` repeats.
    """
    catalog = site.catalog
    names = CategoryNames.load(catalog)
    key = names.id_of(category) if category else None
    try:
        queue = site.queue(key, reviewed, again)
    except CatalogError as error:
        return page(request, "queue_empty.html.j2", 200, sentence=str(error), name=names.name_of(key))
    at = max(0, at)
    rows = catalog.get("clips", [queue[at].clip_id], SHOWN).to_pylist() if at < len(queue) else []
    if not rows:
        sentence = "Nothing waits for review." if not queue else "That is the end of the queue."
        return page(request, "queue_empty.html.j2", sentence=sentence, name=names.name_of(key))
    width, height = strip_size(catalog.spec)
    asked = {"category": key or "", "reviewed": str(reviewed).lower()}
    return page(
        request,
        "review.html.j2",
        clip=rows[0],
        queued=queue[at],
        at=at,
        waiting=len(queue),
        names=names,
        name=names.name_of(key),
        before=link("/review", **asked, at=at - 1, last=last) if at else None,
        after=link("/review", **asked, at=at + 1, last=last),
        same=link("/review", **asked, at=at, last=last),
        next_for=lambda chosen: link("/review", **asked, at=at + 1, last=chosen),
        last=last if last and names.name_of(last) else "",
        as_of=site.last_event(),
        strip_width=width,
        strip_height=height,
    )
