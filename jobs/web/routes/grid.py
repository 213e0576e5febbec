"""The grid: clips that match, counted by facets, selected; and examples that clips are to be like."""

import hashlib
import tempfile
from collections.abc import Mapping
from typing import Annotated

import pyarrow.compute as pc
from fastapi import APIRouter, HTTPException, Request, Response, UploadFile
from fastapi.params import File, Form
from starlette.background import BackgroundTask
from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse

from catalog.curation import Selection
from catalog.errors import CatalogError
from catalog.vocabulary import Status
from jobs.errors import JobError
from jobs.web.pages import page
from jobs.web.shelf import Found
from jobs.web.site import UPLOADED, ExampleForgotten, Here, Site, Uploaded
from jobs.web.view import ANY, ASPECTS, FACETS, MOST_EXAMPLES, PAGE, SORTS, View
from pipeline.errors import PipelineError
from pipeline.serving.asked import MOST_REFERENCES
from pipeline.video.strip import strip_size

router = APIRouter()

FACETS_SHOWN = 12
LARGEST_EXAMPLE = 256 * 2**20  # bytes


@router.get("/")
def grid(request: Request, site: Here) -> Response:
    """Clips that match, a page of them."""
    try:
        view = View.of(request.query_params)
    except JobError as error:
        return _grid(request, site, View(), None, str(error))
    try:
        found = site.shelf.find(view)
        files = site.files((*view.like, *view.unlike))
    except ExampleForgotten:
        raise
    except (CatalogError, JobError, PipelineError) as error:
        return _grid(request, site, view, None, str(error))
    if view.page > found.pages:
        return RedirectResponse(view.at(found.pages).address(), 303)
    return _grid(request, site, view, found, files=files)


@router.post("/example", max_body_size=LARGEST_EXAMPLE)
def example(
    request: Request, site: Here, video: Annotated[UploadFile, File()], view: Annotated[str, Form()] = ""
) -> Response:
    """Look for clips like an uploaded video or picture: its vector is kept, the file is not.

    Args:
        view: the address of the grid that asks; the example becomes one more of it.
    """
    from pipeline.example import read_look

    with tempfile.NamedTemporaryFile(suffix=".video") as file:
        digest = hashlib.sha256()
        while part := video.file.read(2**20):
            digest.update(part)
            file.write(part)
        file.flush()
        try:
            frames = read_look(file.name, site.catalog.spec)
        except PipelineError as error:
            # The sentence names the copy, which means nothing to whoever uploaded it.
            raise HTTPException(422, str(error).replace(file.name, video.filename or "upload")) from error
    name = UPLOADED + digest.hexdigest()[:16]
    called = " ".join((video.filename or "upload").split())[:200]
    site.examples.get(name, lambda: Uploaded(called, site.model.embedder.embed_frames(frames).tolist()))
    asked = View.of(QueryParams(view.partition("?")[2]))
    return RedirectResponse(asked.more_like(name).address(), 303)


def _set_aside(found: Found, view: View) -> int:
    """How many of all that are selected are not used, where the view does not ask for such."""
    if Selection.matching(view.filter() or ANY).means_set_aside:
        return 0
    rows = found.rows.filter(pc.not_equal(found.rows["status"], Status.ACCEPTED))
    return sum(map(view.holds, rows["clip_id"].to_pylist()))


def _grid(
    request: Request,
    site: Site,
    view: View,
    found: Found | None,
    wrong: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Response:
    width, height = strip_size(site.catalog.spec)
    rows = found.page(view.page) if found else []
    matching = found.rows.num_rows if found else 0
    if found and view.everything:
        chosen = matching - len(set(view.left_out) & set(found.ids()))
    else:
        chosen = len(view.selected)
    answer = page(
        request,
        "grid.html.j2",
        422 if wrong else 200,
        view=view,
        wrong=wrong,
        rows=rows,
        matching=matching,
        chosen=chosen,
        set_aside=_set_aside(found, view) if found and view.everything else 0,
        pages=found.pages if found else 1,
        facets=found.facets if found else {facet: [] for facet in FACETS},
        facets_shown=FACETS_SHOWN,
        sorts=SORTS,
        page_size=PAGE,
        as_of=site.last_event(),
        aspects=ASPECTS,
        models=site.models_compared() if view.like or view.unlike else [],
        most_references=MOST_REFERENCES,
        examples=[("like", each) for each in view.like] + [("not like", each) for each in view.unlike],
        files=files or {},
        most_examples=MOST_EXAMPLES,
        command=view.command(site.workdir, matching, files),
        strip_width=width,
        strip_height=height,
        frame=(site.catalog.spec.width, site.catalog.spec.height),
    )
    # The browser asks for them next.
    answer.background = BackgroundTask(site.prepare, [row["clip_id"] for row in rows])
    return answer
