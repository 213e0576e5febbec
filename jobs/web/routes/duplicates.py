"""The duplicate bench: clips that show the same, side by side, and what a person decides about them."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from catalog.curation.duplicates import duplicate_groups, keep, not_duplicates, reversed_twins
from catalog.names import CategoryNames
from jobs.web.acting import UnknownAct, author_of, said, texts
from jobs.web.pages import own_address, page, with_done
from jobs.web.routes.acts import Sent
from jobs.web.site import Here

router = APIRouter()

# Clips of a group that are shown beside each other.
SHOWN = 12


@router.get("/duplicates")
def bench(request: Request, site: Here, at: int = 0) -> Response:
    """One group of clips that show the same; those that leak across splits come first."""
    groups = duplicate_groups(site.catalog)
    at = min(max(0, at), max(0, len(groups) - 1))
    return page(
        request,
        "duplicates.html.j2",
        group=groups[at] if groups else None,
        at=at,
        total=len(groups),
        leaking=sum(bool(each.leaks) for each in groups),
        twins=len(reversed_twins(site.catalog)),
        names=CategoryNames.load(site.catalog),
        shown=SHOWN,
        as_of=site.last_event(),
        frame=(site.catalog.spec.width, site.catalog.spec.height),
    )


@router.post("/acts/duplicates/{verb}")
def decide(request: Request, site: Here, verb: str, form: Sent) -> Response:
    """Keep one of a group, with or without what its copies say of themselves, or tell all of them apart."""
    author, clips = author_of(request, form), texts(form, "clip")
    if verb == "apart":
        done = not_duplicates(site.catalog, clips, author)
    elif verb in ("keep", "merge"):
        kept = said(form, "keep")
        copies = [clip for clip in clips if clip != kept]
        done = keep(site.catalog, kept, copies, author, merge=verb == "merge")
    else:
        raise UnknownAct(f"Duplicates have no act {verb[:40]!r}; there are keep, merge and apart.")
    return RedirectResponse(
        with_done(own_address(said(form, "back") or "/duplicates"), done.event or "nothing"), 303
    )
