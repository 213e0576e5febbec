"""The review queue, by keyboard: what looks least like its category first, five guesses, and the palette."""

from fastapi import APIRouter, Request, Response

from catalog.curation.queue import ReviewQueue
from catalog.errors import CatalogError
from catalog.names import CategoryNames
from catalog.store import Catalog
from jobs.web.pages import link, page
from jobs.web.site import Here
from pipeline.video.strip import strip_size

router = APIRouter()

# What the page says of a clip: to read all columns, its vector among them, takes thrice as long.
SHOWN = (
    *("clip_id", "caption", "source_uri", "category_id", "category_source", "status"),
    "reviewed_by",
)

# Clips of the queue that are looked up at a time; the next one nearly always waits.
_LOOKED_AT = 50


@router.get("/review")
def review(
    request: Request,
    site: Here,
    category: str = "",
    at: int | None = None,
    after: int = 0,
    reviewed: bool = False,
    last: str = "",
    again: bool = False,
) -> Response:
    """One clip of the queue.

    Args:
        category: only its clips; empty for all.
        at: place in the queue as it was computed; `again` computes it anew.
        after: without `at`: the first clip from this place on that nobody has looked at meanwhile, in another
            tab or on another machine.
        reviewed: also what a person has looked at.
        last: the category that `.` repeats.
    """
    catalog = site.catalog
    names = CategoryNames.load(catalog)
    key = names.id_of(category) if category else None
    try:
        queue = site.queue(key, reviewed, again)
    except CatalogError as error:
        return page(
            request, "queue_empty.html.j2", 200, sentence=str(error), name=names.name_of(key), key=key
        )
    at = max(0, at) if at is not None else _waiting(catalog, queue, max(0, after), reviewed)
    rows = catalog.get("clips", [queue[at].clip_id], SHOWN).to_pylist() if at < len(queue) else []
    if not rows:
        sentence = "Nothing waits for review." if not queue else "That is the end of the queue."
        return page(request, "queue_empty.html.j2", sentence=sentence, name=names.name_of(key), key=key)
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
        after=link("/review", **asked, after=at + 1, last=last),
        same=link("/review", **asked, at=at, last=last),
        next_for=lambda chosen: link("/review", **asked, after=at + 1, last=chosen),
        last=last if last and names.name_of(last) else "",
        as_of=site.last_event(),
        strip_width=width,
        strip_height=height,
    )


def _waiting(catalog: Catalog, queue: ReviewQueue, after: int, reviewed: bool) -> int:
    """The place of the first clip from `after` on that waits still; behind the last where none does."""
    if reviewed:
        return after
    many = _LOOKED_AT
    while after < len(queue):
        ids = [each.clip_id for each in queue[after : after + many]]
        rows = catalog.get("clips", ids, ["clip_id", "reviewed_by"]).to_pylist()
        waiting = {row["clip_id"] for row in rows if row["reviewed_by"] is None}
        if waiting:
            return after + next(n for n, clip in enumerate(ids) if clip in waiting)
        after += len(ids)
        many *= 4
    return len(queue)
