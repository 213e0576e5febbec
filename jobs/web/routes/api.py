"""Clips on request, for programs: asked for, watched, cancelled, fetched. Its OpenAPI page is at /api."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from catalog import requests
from catalog.errors import UnknownRequest
from catalog.vocabulary import RequestState
from jobs.web.intake import (
    LARGEST_REQUEST,
    NOT_YET,
    REFUSALS,
    TOO_MUCH,
    UNKNOWN,
    Key,
    NewRequest,
    Sent,
    asked_of,
    body_of,
)
from jobs.web.pages import page
from jobs.web.ranges import served
from jobs.web.site import AtDesk, Owner
from pipeline.serving.desk import Desk

router = APIRouter()
_MOST = 1000
_LOOK = 0.5
_FILES = {
    "reference": "the video whose effect is wanted; several times for several",
    "first_frame": "a picture, or a video's first frame",
}


class RequestSeen(BaseModel):
    """A request as its owner sees it.

    `place` is how many go before it in the queue, `progress` the share of its steps that are done.
    """

    id: str
    state: RequestState
    place: int
    step: int
    steps: int
    progress: float
    attempt: int
    asked: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class RequestsSeen(BaseModel):
    """Requests, the newest first."""

    requests: list[RequestSeen]


def seen(desk: Desk, request: requests.Request) -> RequestSeen:
    """A request as its owner sees it."""
    return all_seen(desk, [request])[0]


def all_seen(desk: Desk, found: Sequence[requests.Request]) -> list[RequestSeen]:
    """Requests as their owner sees them."""
    queued = any(request.state == RequestState.QUEUED for request in found)
    places = desk.places() if queued else {}
    return [_seen(request, places.get(request.request_id, 0)) for request in found]


def _seen(request: requests.Request, place: int) -> RequestSeen:
    here = f"/api/requests/{request.request_id}"
    links = {"self": here, "events": f"{here}/events"}
    if not request.ended:
        links["cancel"] = f"{here}/cancel"
        links["preview"] = f"{here}/preview"
    if request.result:
        links |= {"video": f"{here}/content", "preview": f"{here}/preview"}
        if request.result.get("lora"):
            links["adapter"] = f"{here}/adapter"
    done = request.state == RequestState.DONE
    return RequestSeen(
        id=request.request_id,
        state=request.state,
        place=place if request.state == RequestState.QUEUED else 0,
        step=request.step,
        steps=request.steps,
        progress=1.0 if done else round(request.step / request.steps, 4) if request.steps else 0.0,
        attempt=request.attempt,
        asked=dict(request.asked),
        result=dict(request.result) if request.result else None,
        error=request.error,
        created_at=request.created_at,
        started_at=request.started_at,
        finished_at=request.finished_at,
        links=links,
    )


@router.post(
    "/api/requests",
    status_code=202,
    max_body_size=LARGEST_REQUEST,
    responses={**REFUSALS, **TOO_MUCH},
    openapi_extra=body_of(NewRequest, _FILES),
)
def create(desk: AtDesk, owner: Owner, key: Key, intake: Sent) -> RequestSeen:
    """Ask for a clip. With an `Idempotency-Key`, asking again is the same request."""
    new = intake.read(NewRequest)
    desk.admit(owner, key)
    return seen(desk, desk.submit(owner, asked_of(desk, owner, intake, new), key))


@router.get("/api/requests", responses=REFUSALS)
def listing(desk: AtDesk, owner: Owner, limit: int = Query(50, ge=1, le=_MOST)) -> RequestsSeen:
    """Your requests, the newest first."""
    return RequestsSeen(requests=all_seen(desk, desk.listed(owner, limit)))


@router.get("/api/requests/{request_id}", responses={**REFUSALS, **UNKNOWN})
def one(desk: AtDesk, owner: Owner, request_id: str) -> RequestSeen:
    """One request: where it stands."""
    return seen(desk, desk.find(owner, request_id))


@router.post("/api/requests/{request_id}/cancel", responses={**REFUSALS, **UNKNOWN})
def cancel(desk: AtDesk, owner: Owner, request_id: str) -> RequestSeen:
    """End it: it takes effect between two steps. What has ended already stays as it is."""
    return seen(desk, desk.cancel(owner, request_id))


@router.delete("/api/requests/{request_id}", status_code=204, responses={**REFUSALS, **UNKNOWN})
def remove(desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """End it, and remove it with its files."""
    desk.remove(owner, request_id)
    return Response(status_code=204)


@router.get(
    "/api/requests/{request_id}/content",
    response_class=Response,
    responses={
        **REFUSALS,
        **UNKNOWN,
        **NOT_YET,
        200: {"content": {"video/mp4": {}}},
        206: {"content": {"video/mp4": {}}, "description": "the range that was asked for"},
        416: {"description": "a range that is not there"},
    },
)
def content(request: Request, desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """The video; takes ranges. What it comes from is JSON in its comment."""
    return served(request, desk.result(desk.find(owner, request_id), "video").read_bytes(), "video/mp4")


@router.get(
    "/api/requests/{request_id}/adapter",
    response_class=Response,
    responses={**REFUSALS, **UNKNOWN, **NOT_YET, 200: {"content": {"application/octet-stream": {}}}},
)
def adapter(
    desk: AtDesk,
    owner: Owner,
    request_id: str,
    target: Literal["diffusers", "comfyui", "kijai"] = "diffusers",
) -> Response:
    """The LoRA that was predicted of the reference, a safetensors file under the names that a tool reads."""
    data = desk.adapter(desk.find(owner, request_id), target)
    named = {"content-disposition": f'attachment; filename="{request_id[:12]}-{target}.safetensors"'}
    return Response(data, media_type="application/octet-stream", headers=named)


@router.get(
    "/api/requests/{request_id}/preview",
    response_class=Response,
    responses={**REFUSALS, **UNKNOWN, **NOT_YET, 200: {"content": {"image/jpeg": {}}}},
)
def preview(desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """A picture of how far it is."""
    data = desk.preview(desk.find(owner, request_id)).read_bytes()
    return Response(data, media_type="image/jpeg", headers={"cache-control": "no-store"})


@router.get(
    "/api/requests/{request_id}/events",
    response_class=Response,
    responses={**REFUSALS, **UNKNOWN, 200: {"content": {"text/event-stream": {}}}},
)
def events(desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """Where it stands, told whenever that changes, until it has ended (server-sent events)."""
    desk.find(owner, request_id)
    return StreamingResponse(_told(desk, owner, request_id), media_type="text/event-stream")


async def _told(desk: Desk, owner: str, request_id: str) -> AsyncIterator[str]:
    last = None
    while True:
        try:
            now = await run_in_threadpool(lambda: seen(desk, desk.find(owner, request_id)))
        except UnknownRequest:
            yield f"event: removed\ndata: {json.dumps({'id': request_id})}\n\n"
            return
        # A comment where nothing changed: a client that has left is noticed when something is sent.
        yield f"data: {now.model_dump_json()}\n\n" if now != last else ": still there\n\n"
        if now.state in requests.ENDED:
            return
        last = now
        await asyncio.sleep(_LOOK)


@router.get("/api/openapi.json", include_in_schema=False)
def description(request: Request) -> JSONResponse:
    """The description of what programs may ask."""
    return JSONResponse(described(request))


@router.get("/api", include_in_schema=False)
def readable(request: Request) -> Response:
    """The same for people."""
    document = described(request)
    operations = [
        (verb.upper(), path, told)
        for path, verbs in document["paths"].items()
        for verb, told in verbs.items()
    ]
    return page(request, "api.html.j2", operations=operations, base=str(request.base_url).rstrip("/"))


def described(request: Request) -> dict[str, Any]:
    """OpenAPI of the routes for programs."""
    from jobs.web.routes import openai

    return get_openapi(
        title="Video2LoRA",
        version="1",
        description="A reference video, a first frame and a prompt in; a clip with that video's effect out.",
        routes=[*router.routes, *openai.router.routes],
    )
