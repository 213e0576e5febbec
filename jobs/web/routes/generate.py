"""Clips on request, for people: a form, clips that appear step by step, seeds beside strengths, history."""

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import Field
from starlette.responses import RedirectResponse

from catalog import requests
from catalog.errors import CatalogError
from catalog.vocabulary import RequestState
from jobs.web.intake import LARGEST_REQUEST, Intake, NewRequest, Sent, asked_of
from jobs.web.pages import link, own_address, page
from jobs.web.site import AtDesk, Here, Owner, Site
from pipeline.errors import PipelineError
from pipeline.serving.asked import LONGEST_PROMPT, MOST_REFERENCES, Asked
from pipeline.serving.desk import Desk
from training.errors import TrainingError
from training.settings import GenerateSettings

router = APIRouter()
# Cells of one comparison.
MOST_AT_ONCE = 16
SHOWN = 24
POCKET = "pocket"
_RESULT = {"lora": None, "notes": (), "model": None, "seconds": None}
_SEEDS = re.compile(r"\d{1,18}(-\d{1,18})?")


class Form(NewRequest):
    """The page's form: several seeds and strengths make a grid."""

    seeds: str = Field("0", max_length=200)
    strengths: str = Field("", max_length=200)


@router.get("/generate")
def ask(
    request: Request,
    site: Here,
    desk: AtDesk,
    owner: Owner,
    reference: Annotated[list[str] | None, Query(max_length=MOST_REFERENCES)] = None,
    first_frame: str = Query("", max_length=200),
    again: str = Query("", max_length=64),
) -> Response:
    """The form, and the newest clips under it.

    Args:
        reference: clips that are chosen already, of which each lends its effect.
        first_frame: a clip that is.
        again: a request whose values the form begins with.
    """
    given: dict[str, object] = {"reference_clip": reference or [], "first_frame_clip": first_frame}
    if again:
        asked = desk.find(owner, again).asked
        given |= {name: value for name, value in asked.items() if value is not None}
        # A file has to be chosen again: no page may fill that field.
        lent = [asked["reference"], *asked.get("also", ())]
        given["reference_clip"] = [each["name"] for each in lent if each["kind"] == "clip"]
        if len(given["reference_clip"]) < len(lent):
            given.pop("weights", None)
        shown = asked["first_frame"]
        given["first_frame_clip"] = shown["name"] if shown["kind"] == "clip" else ""
        given["seeds"] = asked.get("seed") or 0
    return _form(request, site, desk, owner, given, None)


@router.post("/generate", max_body_size=LARGEST_REQUEST)
def take(request: Request, site: Here, desk: AtDesk, owner: Owner, intake: Sent) -> Response:
    """One request for each seed and strength; on to where they appear."""
    try:
        form = intake.read(Form)
        seeds, strengths = _seeds(form.seeds), _strengths(form.strengths)
        if len(seeds) * len(strengths) > MOST_AT_ONCE:
            raise HTTPException(
                422, f"{len(seeds)} seeds × {len(strengths)} strengths are more than {MOST_AT_ONCE} clips."
            )
        desk.admit(owner, count=len(seeds) * len(strengths))
        group = secrets.token_hex(8)
        new = NewRequest(**form.model_dump(exclude={"seeds", "strengths"}))
        asked = asked_of(desk, owner, intake, new, group)
        cells = [{"seed": seed, "strength": strength} for strength in strengths for seed in seeds]
        for each in [Intake(asked.model_dump() | said, {}, typed=False).read(Asked) for said in cells]:
            desk.submit(owner, each)
    except (CatalogError, PipelineError, TrainingError, HTTPException) as error:
        sentence = str(error.detail) if isinstance(error, HTTPException) else str(error)
        status = error.status_code if isinstance(error, HTTPException) else 422
        return _form(request, site, desk, owner, intake.fields, sentence, status)
    return RedirectResponse(link("/requests", group=group), 303)


@router.get("/requests")
def history(
    request: Request,
    desk: AtDesk,
    owner: Owner,
    group: str = Query("", max_length=64),
    page_number: int = Query(1, ge=1, le=10_000, alias="page"),
) -> Response:
    """Your requests, the newest first; or those that were asked for together, as a grid."""
    found = desk.listed(owner)
    if group:
        found = [each for each in found if each.asked.get("group") == group]
        if not found:
            raise HTTPException(404, "Nothing of yours was asked for under that name.")
        return page(request, "compare.html.j2", group=group, **_grid(desk, found))
    start = (page_number - 1) * SHOWN
    return page(
        request,
        "requests.html.j2",
        found=_all_seen(desk, found[start : start + SHOWN]),
        total=len(found),
        at=page_number,
        pages=max(1, -(-len(found) // SHOWN)),
        trouble=desk.dispatcher.trouble,
    )


@router.get("/requests/{request_id}")
def one(request: Request, site: Here, desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """One request: the clip or how far it is, what was asked for, and what can be taken along."""
    return page(
        request,
        "request.html.j2",
        each=_all_seen(desk, [desk.find(owner, request_id)])[0],
        frame=(site.catalog.spec.width, site.catalog.spec.height),
    )


@router.get("/requests/{request_id}/now")
def now(request: Request, desk: AtDesk, owner: Owner, request_id: str) -> Response:
    """The part of a page that shows where a request stands; it asks for itself again until that has ended."""
    return page(request, "now.html.j2", each=_all_seen(desk, [desk.find(owner, request_id)])[0])


@router.post("/requests/{request_id}/cancel")
def cancel(request: Request, desk: AtDesk, owner: Owner, request_id: str, intake: Sent) -> Response:
    """End it."""
    desk.cancel(owner, request_id)
    return _back(intake, f"/requests/{request_id}")


@router.post("/requests/{request_id}/remove")
def remove(request: Request, desk: AtDesk, owner: Owner, request_id: str, intake: Sent) -> Response:
    """Remove it and its files."""
    desk.remove(owner, request_id)
    return RedirectResponse("/requests", 303)


def _form(
    request: Request,
    site: Site,
    desk: Desk,
    owner: str,
    given: dict[str, object],
    wrong: str | None,
    status: int = 200,
) -> Response:
    given = dict.fromkeys((*Form.model_fields, "again"), "") | given
    models, lacking = _models(site, desk)
    given["weights"] = _one_text(given["weights"])
    picked = {name: _one_text(given[f"{name}_clip"]).split() for name in ("reference", "first_frame")}
    clips = [clip for clips in picked.values() for clip in clips]
    return page(
        request,
        "generate.html.j2",
        status,
        given=given,
        wrong=wrong,
        lacking=lacking,
        models=models,
        picked=picked,
        there=site.catalog.get("clips", clips, ["clip_id"])["clip_id"].to_pylist(),
        most_references=MOST_REFERENCES,
        defaults=desk.work.generate or GenerateSettings(),
        longest=LONGEST_PROMPT,
        most=MOST_AT_ONCE,
        workers=desk.dispatcher,
        newest=_all_seen(desk, desk.listed(owner, 6)),
    )


def _one_text(value: object) -> str:
    """A field of the form, whatever stands in it."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _models(site: Site, desk: Desk) -> tuple[list[str], str | None]:
    """The models that may be named, and why there is none where nobody names one."""
    from pipeline.models import find_model

    rows = site.catalog.scan("models", ["model_id", "created_at"]).to_pylist()
    rows.sort(key=lambda row: (row["created_at"] is not None, row["created_at"]), reverse=True)
    names = [row["model_id"] for row in rows]
    # The shipped hypernetwork is the pocket CogVideoX's.
    backbone = desk.work.backbone
    if backbone is not None and (backbone.family, backbone.model) == ("cogvideox", POCKET):
        names.append(POCKET)
    try:
        find_model(site.catalog, desk.work.models, desk.work.model)
    except (CatalogError, PipelineError, TrainingError) as error:
        return names, str(error)
    return names, None


def _all_seen(desk: Desk, found: Sequence[requests.Request]) -> list[dict[str, object]]:
    queued = any(request.state == RequestState.QUEUED for request in found)
    places = desk.places() if queued else {}
    return [_seen(desk, request, places) for request in found]


def _seen(desk: Desk, request: requests.Request, places: Mapping[str, int]) -> dict[str, object]:
    return {
        "request": request,
        "asked": request.asked,
        "result": _RESULT | dict(request.result or {}),
        "place": places.get(request.request_id, 0),
        "state": str(request.state),
        "working": str(desk.dispatcher.state),
        "trouble": desk.dispatcher.trouble,
        "has_preview": not request.ended
        and (desk.work.folder / f"{request.request_id}-{request.attempt}.preview.jpg").is_file(),
    }


def _grid(desk: Desk, found: list[requests.Request]) -> dict[str, object]:
    """Seeds in columns, strengths in rows."""
    cells = {(each.asked.get("strength"), each.asked.get("seed")): each for each in found}
    strengths = sorted({key[0] for key in cells}, key=lambda s: (s is not None, s))
    seeds = sorted({key[1] for key in cells}, key=lambda s: (s is not None, s))
    cell = dict(zip(cells, _all_seen(desk, list(cells.values())), strict=True))
    rows = [(strength, [cell.get((strength, seed)) for seed in seeds]) for strength in strengths]
    return {"rows": rows, "seeds": seeds, "first": _all_seen(desk, found[-1:])[0]}


def _seeds(text: str) -> list[int]:
    """`0-3, 7` as 0, 1, 2, 3, 7."""
    seeds: list[int] = []
    for part in re.split(r"[,\s]+", text.strip()):
        if not _SEEDS.fullmatch(part):
            raise HTTPException(422, f"Seeds are whole numbers and spans, as in 0-3, 7; not {part[:40]!r}.")
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span or len(span) + len(seeds) > MOST_AT_ONCE:
            raise HTTPException(422, f"{part[:40]!r} is no span of at most {MOST_AT_ONCE} seeds.")
        seeds += span
    return list(dict.fromkeys(seeds))


def _strengths(text: str) -> list[float | None]:
    if not text.strip():
        return [None]
    try:
        found = [float(part) for part in re.split(r"[,\s]+", text.strip())]
    except ValueError as error:
        raise HTTPException(422, "Strengths are numbers, as in 0.5, 1, 1.5.") from error
    return list(dict.fromkeys(found))


def _back(intake: Intake, otherwise: str) -> Response:
    return RedirectResponse(own_address(str(intake.fields.get("back") or otherwise)), 303)
