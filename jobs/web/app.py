"""The application: its pages, what every request passes, and how errors become sentences."""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from catalog.errors import (
    CatalogError,
    ChangedMeanwhile,
    NothingSelected,
    OtherRequest,
    ReadOnlyCatalog,
    SnapshotMissing,
    UnknownCategory,
    UnknownClip,
    UnknownEvent,
    UnknownRequest,
)
from jobs import troubles
from jobs.errors import JobError
from jobs.web.gate import Gate
from jobs.web.pages import told
from jobs.web.routes import (
    acts,
    api,
    categories,
    chart,
    clip,
    duplicates,
    enter,
    generate,
    grid,
    history,
    media,
    openai,
    review,
    runs,
    snapshots,
)
from jobs.web.site import ExampleForgotten, NothingGenerated, Site
from pipeline.errors import PipelineError
from pipeline.serving.desk import NotYet, TooMany
from training.errors import TrainingError

STATIC = Path(__file__).parent / "static"
_ROUTERS = (
    grid,
    media,
    clip,
    categories,
    review,
    chart,
    duplicates,
    snapshots,
    runs,
    acts,
    history,
    enter,
    generate,
    api,
    openai,
)
# Bytes of a request; a route that takes more says so.
LARGEST = 2 * 2**20
_SESSION_SECONDS = 12 * 3600
_STATUS: dict[type[Exception], int] = {
    UnknownCategory: 404,
    UnknownClip: 404,
    UnknownEvent: 404,
    UnknownRequest: 404,
    NotYet: 409,
    TooMany: 429,
    NothingGenerated: 503,
    OtherRequest: 422,
    SnapshotMissing: 404,
    ChangedMeanwhile: 409,
    NothingSelected: 409,
    ExampleForgotten: 410,
    ReadOnlyCatalog: 409,
    CatalogError: 422,
    PipelineError: 422,
    JobError: 422,
    TrainingError: 422,
}


def create_app(site: Site) -> FastAPI:
    """The web of one catalogue, as an ASGI application."""
    app = FastAPI(
        title="Video2LoRA",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        max_body_size=LARGEST,
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=site.access.secret,
                session_cookie="video2lora",
                max_age=_SESSION_SECONDS,
                same_site="strict",
            ),
            Middleware(Gate, access=site.access),
        ],
    )
    app.state.site = site
    for each in _ROUTERS:
        app.include_router(each.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (CatalogError, PipelineError, JobError, TrainingError):
        app.add_exception_handler(kind, _refused)
    for kind in (OSError, RuntimeError):  # Lance's own are the latter
        app.add_exception_handler(kind, _machine)
    app.add_exception_handler(StarletteException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _fault)
    return app


def status_of(error: Exception) -> int:
    """The status that goes with what a room below refused."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


async def _refused(request: Request, error: Exception) -> Response:
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, TooMany) else None
    return told(request, status_of(error), str(error), headers)


async def _machine(request: Request, error: Exception) -> Response:
    if sentence := troubles.sentence(error):
        return told(request, 507, sentence)
    return await _fault(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteException)
    if isinstance(error, HTTPException):  # raised by a route of ours, with a sentence of its own
        return told(request, error.status_code, str(error.detail), error.headers)
    sentences = {
        404: "There is no such page.",
        405: "This page does not take that.",
    }
    said = sentences.get(error.status_code, str(error.detail))
    return told(request, error.status_code, said, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return told(request, 422, f"{name[:80]!r}: {first['msg']}.")


async def _fault(request: Request, error: Exception) -> Response:
    logging.getLogger(__name__).error("%s %s", request.method, request.url.path, exc_info=error)
    return told(request, 500, "That is a fault of ours; the server's log has the traceback.")
