"""What a clip looks like: its video, poster, effect strip and sheet, each looked up by id in the table."""

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from jobs.web.ranges import served
from jobs.web.site import Here

router = APIRouter(prefix="/clips/{clip_id}")


@router.get("/clip.mp4")
def video(request: Request, site: Here, clip_id: str) -> Response:
    """The stored video; takes ranges."""
    return served(request, _found(site.video(clip_id)), "video/mp4")


@router.get("/poster.jpg")
async def poster(request: Request, site: Here, clip_id: str) -> Response:
    """The stored poster, or the clip's strip where none is stored."""
    stored = await run_in_threadpool(site.poster, clip_id)
    return served(request, _found(stored or await site.picture(clip_id, "strip")), "image/jpeg")


@router.get("/strip.jpg")
async def strip(request: Request, site: Here, clip_id: str) -> Response:
    """Five ordered frames and the colour × time bar."""
    return served(request, _found(await site.picture(clip_id, "strip")), "image/jpeg")


@router.get("/sheet.jpg")
async def sheet(request: Request, site: Here, clip_id: str) -> Response:
    """25 moments, for the scrubber."""
    return served(request, _found(await site.picture(clip_id, "sheet")), "image/jpeg")


def _found(data: bytes | None) -> bytes:
    if data is None:
        raise HTTPException(404, "There is no such clip, or nothing of it can be read.")
    return data
