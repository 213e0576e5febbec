"""States of the catalogue that have a name: taken, compared, put back; and what licences would leave."""

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from catalog.licences import licences, without
from catalog.predicates import not_null
from catalog.snapshots import compare, resolve, restore, snapshots, take
from catalog.snapshots.named import MODEL, NOW
from jobs.web.acting import UnknownAct, author_of, said
from jobs.web.pages import link, page, with_done
from jobs.web.routes.acts import Sent
from jobs.web.site import Here

router = APIRouter()

SHOWN = 200


@router.get("/snapshots")
def listing(request: Request, site: Here, one: str = "", other: str = NOW) -> Response:
    """All snapshots and, where two are named, what is different between them."""
    catalog = site.catalog
    models = catalog.scan("models", ["model_id"])["model_id"].to_pylist()
    found = snapshots(catalog)
    comparison = compare(resolve(catalog, one), resolve(catalog, other or NOW)) if one else None
    return page(
        request,
        "snapshots.html.j2",
        snapshots=found,
        choices=[NOW, *(each.name for each in found), *(f"{MODEL}{each}" for each in sorted(models))],
        one=one,
        other=other or NOW,
        comparison=comparison,
        shown=SHOWN,
        as_of=site.last_event(),
    )


@router.post("/acts/snapshots/{verb}")
def act(request: Request, site: Here, verb: str, form: Sent) -> Response:
    """Name the catalogue as it is now, or put what people decided back as it was."""
    name, author = said(form, "name"), author_of(request, form)
    if verb == "take":
        take(site.catalog, name, author.name, said(form, "note")[:1000] or None)
        return RedirectResponse(link("/snapshots", one=name), 303)
    if verb == "restore":
        done = restore(site.catalog, name, author, set_aside_later=bool(form.get("set_aside_later")))
        return RedirectResponse(with_done("/snapshots", done.event or "nothing"), 303)
    raise UnknownAct(f"Snapshots have no act {verb[:40]!r}; there are take and restore.")


@router.get("/licences")
def terms(
    request: Request, site: Here, exclude: list[str] = Query(default_factory=list), least: int = 20
) -> Response:
    """The terms of the clips that are used, and what would be left without some of them."""
    least = min(max(least, 1), 10**6)
    return page(
        request,
        "licences.html.j2",
        terms=licences(site.catalog),
        claims=site.catalog.count("clips", not_null("claimed_licence")),
        exclude=exclude,
        least=least,
        what_if=without(site.catalog, exclude, least) if exclude else None,
        shown=SHOWN,
    )
