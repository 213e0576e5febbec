"""The shape of OpenAI's `/v1/videos`, so that its clients ask this server: a request by another name.

`input_reference` is the picture. The effect, which theirs does not have, is one field more: `reference_clip`,
or a file `reference` (`extra_body=` of their Python client).
"""

import base64
import binascii
import tempfile
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field, field_validator
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse

from catalog import requests
from catalog.errors import UnknownRequest
from catalog.vocabulary import RequestState
from jobs.web.intake import (
    LARGEST_REQUEST,
    NOT_YET,
    REFUSALS,
    TOO_MUCH,
    UNKNOWN,
    Intake,
    Key,
    NewRequest,
    Sent,
    asked_of,
    body_of,
    site_geometry,
)
from jobs.web.ranges import served
from jobs.web.site import AtDesk, Here, Owner, Site

router = APIRouter()
_STATUS = {
    RequestState.QUEUED: "queued",
    RequestState.RUNNING: "in_progress",
    RequestState.DONE: "completed",
    RequestState.FAILED: "failed",
    RequestState.CANCELLED: "failed",
}
_PICTURE = "data:image/"
_FILES = {"input_reference": "the first frame, a picture", "reference": "the video whose effect is wanted"}


class Picture(BaseModel):
    """A picture within JSON, as a `data:` address; nothing is fetched from elsewhere."""

    image_url: str = Field(max_length=64 * 2**20)


class NewVideo(NewRequest):
    """A video that is asked for; seconds and size are those of the server, or left out."""

    prompt: str = Field(min_length=1, max_length=2_000)
    input_reference: Picture | None = None
    seconds: str | None = Field(None, max_length=20)
    size: str | None = Field(None, max_length=20)

    @field_validator("seconds", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class VideoFailed(BaseModel):
    """Why there is no video."""

    code: str
    message: str


class Video(BaseModel):
    """A video as OpenAI's clients know it; `progress` is in percent."""

    id: str
    object: Literal["video"] = "video"
    created_at: int
    completed_at: int | None
    expires_at: int | None = None
    error: VideoFailed | None
    model: str
    progress: int
    prompt: str
    remixed_from_video_id: str | None = None
    seconds: str
    size: str
    status: Literal["queued", "in_progress", "completed", "failed"]


class Videos(BaseModel):
    """A page of a list."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """A video that is no more."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


def video_of(site: Site, request: requests.Request) -> Video:
    """A request in OpenAI's words."""
    failed = None
    if request.state in (RequestState.FAILED, RequestState.CANCELLED):
        failed = VideoFailed(code=str(request.state), message=request.error or "It was cancelled.")
    share = request.step / request.steps if request.steps else 0
    seconds, size = site_geometry(site)
    return Video(
        id=request.request_id,
        created_at=int(request.created_at.timestamp()),
        completed_at=int(request.finished_at.timestamp())
        if request.finished_at and request.state == RequestState.DONE
        else None,
        error=failed,
        model=(request.result or {}).get("model") or request.asked.get("model") or "default",
        progress=100 if request.state == RequestState.DONE else min(99, int(100 * share)),
        prompt=request.asked.get("prompt", ""),
        seconds=seconds,
        size=size,
        status=_STATUS[request.state],
    )


@router.post(
    "/v1/videos",
    max_body_size=LARGEST_REQUEST,
    responses={**REFUSALS, **TOO_MUCH},
    openapi_extra=body_of(NewVideo, _FILES),
)
def create(site: Here, desk: AtDesk, owner: Owner, key: Key, intake: Sent) -> Video:
    """Ask for a video."""
    new = intake.read(NewVideo)
    for name, said, made in zip(
        ("seconds", "size"), (new.seconds, new.size), site_geometry(site), strict=True
    ):
        if said is not None and said != made:
            raise HTTPException(422, f"{name!r} is {made} for every video of this server; leave it away.")
    desk.admit(owner, key)
    with tempfile.TemporaryFile() as file:
        files = dict(intake.files)
        if "input_reference" in files:
            files["first_frame"] = files.pop("input_reference")
        elif new.input_reference:
            size = file.write(_picture(new.input_reference.image_url))
            files["first_frame"] = [UploadFile(file, size=size, filename="input_reference")]
        known = {name: value for name in NewRequest.model_fields if (value := getattr(new, name)) is not None}
        asked = asked_of(desk, owner, Intake(intake.fields, files, intake.typed), NewRequest(**known))
    return video_of(site, desk.submit(owner, asked, key))


@router.get("/v1/videos", responses={**REFUSALS, **UNKNOWN})
def listing(
    site: Here,
    desk: AtDesk,
    owner: Owner,
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Videos:
    """Your videos, a page of them."""
    found = desk.listed(owner)
    if order == "asc":
        found.reverse()
    ids = [each.request_id for each in found]
    if after is not None and after not in ids:
        raise UnknownRequest("There is no such video.")
    start = ids.index(after) + 1 if after is not None else 0
    data = [video_of(site, each) for each in found[start : start + limit]]
    return Videos(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(found) > start + limit,
    )


@router.get("/v1/videos/{video_id}", responses={**REFUSALS, **UNKNOWN})
def one(site: Here, desk: AtDesk, owner: Owner, video_id: str) -> Video:
    """One video: where it stands."""
    return video_of(site, desk.find(owner, video_id))


@router.delete("/v1/videos/{video_id}", responses={**REFUSALS, **UNKNOWN})
def delete(desk: AtDesk, owner: Owner, video_id: str) -> Deleted:
    """Remove a video; one that is being made is cancelled."""
    desk.remove(owner, video_id)
    return Deleted(id=video_id)


@router.get(
    "/v1/videos/{video_id}/content",
    response_class=Response,
    responses={
        **REFUSALS,
        **UNKNOWN,
        **NOT_YET,
        200: {"content": {"video/mp4": {}, "image/jpeg": {}, "application/octet-stream": {}}},
        206: {"content": {"video/mp4": {}}, "description": "the range that was asked for"},
        416: {"description": "a range that is not there"},
    },
)
def content(
    request: Request,
    desk: AtDesk,
    owner: Owner,
    video_id: str,
    variant: Literal["video", "thumbnail", "adapter"] = "video",
) -> Response:
    """The video, a picture of it, or the adapter that made it."""
    found = desk.find(owner, video_id)
    if variant == "adapter":
        return FileResponse(desk.result(found, "lora"), media_type="application/octet-stream")
    if variant == "thumbnail":
        return Response(desk.result(found, "poster").read_bytes(), media_type="image/jpeg")
    return served(request, desk.result(found, "video").read_bytes(), "video/mp4")


def _picture(address: str) -> bytes:
    head, comma, data = address.partition(",")
    if not comma or not head.startswith(_PICTURE) or not head.endswith(";base64"):
        raise HTTPException(
            422, "'input_reference.image_url' is a data:image/…;base64,… address, and no other."
        )
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, "'input_reference.image_url' holds no base64.") from error
