"""Acts: on the selection of a grid, on one clip or category, and their undoing."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData, QueryParams
from starlette.responses import RedirectResponse

from catalog.acts import Applied, undo
from jobs.web.acting import act_on_category, act_on_clips, author_of, said, selection_of
from jobs.web.pages import own_address, with_done
from jobs.web.site import Here
from jobs.web.view import View

router = APIRouter()


async def _sent(request: Request) -> FormData:
    return await request.form()


Sent = Annotated[FormData, Depends(_sent)]


@router.post("/acts/clips/{verb}")
def on_clips(request: Request, site: Here, verb: str, form: Sent) -> Response:
    """Act on the clips that a grid's form selects; back to the grid, which offers to undo it."""
    # The view is one field: what an act asks for may be called like a facet.
    view = View.of(QueryParams(said(form, "view").partition("?")[2]))
    clips = selection_of(site, view, said(form, "expected"))
    done = act_on_clips(site.catalog, verb, clips, form, author_of(request, form))
    return _back(form, view.fresh(page=view.page).address(), done)


@router.post("/acts/category/{verb}")
def on_category(request: Request, site: Here, verb: str, form: Sent) -> Response:
    """Act on one category."""
    done = act_on_category(site.catalog, verb, said(form, "id"), form, author_of(request, form))
    return _back(form, "/categories", done)


@router.post("/undo")
def take_back(request: Request, site: Here, form: Sent) -> Response:
    """Take an act back; that can be taken back too."""
    done = undo(site.catalog, said(form, "event"), actor=author_of(request, form).name)
    return _back(form, "/history", done)


def _back(form: FormData, otherwise: str, done: Applied) -> Response:
    to = own_address(said(form, "back") or otherwise)
    return RedirectResponse(with_done(to, done.event or "nothing"), 303)
