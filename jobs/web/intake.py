"""What a program or a form says when it asks for a clip, as JSON or as fields, and the files it brings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteException

from jobs.usage import wording
from jobs.web.site import Site
from pipeline.errors import BadSource
from pipeline.serving.asked import Asked, Sampling, Shown, Text
from pipeline.serving.desk import Desk

# Bytes of a request: two uploads, and what stands around them.
LARGEST_REQUEST = 1024 * 2**20
_FIELD = 2**16
LONGEST_KEY = 200
# What a part of a form may say that it is.
_MEDIA = ("video/", "image/", "application/octet-stream")
M = TypeVar("M", bound=BaseModel)


class NewRequest(Sampling):
    """A clip that is asked for. Each of reference and first frame is a clip_id here, or an uploaded file."""

    reference_clip: Text | None = Field(None, min_length=1, max_length=200)
    first_frame_clip: Text | None = Field(None, min_length=1, max_length=200)


@dataclass(frozen=True)
class Intake:
    """What was sent.

    Attributes:
        typed: whether values have types (JSON), or are all text (a form).
    """

    fields: dict[str, Any]
    files: dict[str, UploadFile]
    typed: bool

    def read(self, model: type[M]) -> M:
        """The fields as a model has them.

        Raises:
            HTTPException: 422, what of them cannot be meant.
        """
        try:
            return model.model_validate(self.fields, strict=self.typed)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))[:80]
            if first["type"] == "extra_forbidden":
                known = ", ".join(model.model_fields)
                raise HTTPException(422, f"There is no field {name!r}; known here: {known}.") from error
            raise HTTPException(422, f"{name!r} {wording(first)}.") from error


async def read_intake(request: Request) -> Intake:
    """Raises HTTPException: 415 for another media type, 422 for a body that is not of its own."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            fields = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise HTTPException(422, f"The body is no JSON: {str(error)[:200]}.") from error
        if not isinstance(fields, dict):
            raise HTTPException(422, "The body is JSON, and no object with fields.")
        return Intake(fields, {}, typed=True)
    if kind != "multipart/form-data":
        said = f"not {kind[:80]!r}" if kind else "and the request names no content-type"
        raise HTTPException(415, f"Send application/json or multipart/form-data, {said}.")
    try:
        form = await request.form(max_files=4, max_fields=64, max_part_size=_FIELD)
    except StarletteException as error:
        if error.status_code == 413:
            raise
        said = str(error.detail).rstrip(".")
        raise HTTPException(422, f"The form cannot be read: {said}.") from error
    # A field that a person left empty says nothing.
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str) and value.strip()}
    files = {
        name: value for name, value in form.multi_items() if isinstance(value, UploadFile) and value.filename
    }
    return Intake(fields, files, typed=False)


Sent = Annotated[Intake, Depends(read_intake)]


def key_of(request: Request) -> str | None:
    """The idempotency key that was sent.

    Raises:
        HTTPException: 422, one that is none.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise HTTPException(422, f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.")
    return key


Key = Annotated[str | None, Depends(key_of)]


def shown(
    desk: Desk, owner: str, intake: Intake, name: str, clip: str | None, first_frame: bool = False
) -> Shown:
    """A reference or first frame: the clip that is named, or the file that was sent, decoded in the sandbox.

    Raises:
        HTTPException: 422, neither or both, or a file that shows nothing; 413 and 415, one too large or of
            another kind.
    """
    file = intake.files.get(name)
    if (file is None) is (clip is None):
        both = "both are" if clip else "neither is"
        raise HTTPException(422, f"{name!r} is an uploaded file, or {name}_clip a clip_id; {both} there.")
    if file is None:
        assert clip is not None
        return Shown(kind="clip", name=clip)
    kind = file.content_type or "application/octet-stream"
    if not kind.startswith(_MEDIA):
        raise HTTPException(415, f"{name!r} is {kind[:80]!r}; send a video or a picture.")
    most = desk.settings.max_upload_mb
    if (file.size or 0) > most * 2**20:
        raise HTTPException(
            413, f"{name!r} has {(file.size or 0) / 2**20:.0f} MB; at most {most} MB are taken."
        )
    take = desk.uploads.take_first_frame if first_frame else desk.uploads.take_reference
    try:
        return Shown(kind="upload", name=take(file.file, owner))
    except BadSource as error:
        raise HTTPException(422, f"{name!r}: {error}") from error


def asked_of(desk: Desk, owner: str, intake: Intake, new: NewRequest, group: str | None = None) -> Asked:
    """The request that is meant; see `shown` for what it raises."""
    return Asked(
        **new.model_dump(exclude={"reference_clip", "first_frame_clip"}),
        reference=shown(desk, owner, intake, "reference", new.reference_clip),
        first_frame=shown(desk, owner, intake, "first_frame", new.first_frame_clip, first_frame=True),
        group=group,
    )


class ErrorSaid(BaseModel):
    """Why not."""

    model_config = ConfigDict(title="Error")

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Refusal(BaseModel):
    """What every refusal looks like."""

    error: ErrorSaid


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "no token"},
    403: {"model": Refusal, "description": "a page of another site"},
    422: {"model": Refusal, "description": "what cannot be meant"},
    503: {"model": Refusal, "description": "a server that generates nothing"},
}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Refusal, "description": "no such request of this user"}
}
NOT_YET: dict[int | str, dict[str, Any]] = {409: {"model": Refusal, "description": "not there yet"}}
TOO_MUCH: dict[int | str, dict[str, Any]] = {
    413: {"model": Refusal, "description": "too large"},
    415: {"model": Refusal, "description": "another media type"},
    429: {"model": Refusal, "description": "too many; `Retry-After` says when to try again"},
}


def body_of(model: type[BaseModel], files: dict[str, str]) -> dict[str, Any]:
    """How a body is described: as JSON, and as a form with files.

    Args:
        files: by name, what each is.
    """
    schema = model.model_json_schema()
    for name, definition in schema.pop("$defs", {}).items():
        # What a schema of its own refers to is not there in the document that it becomes a part of.
        there = json.dumps({"$ref": f"#/$defs/{name}"})
        schema = json.loads(json.dumps(schema).replace(there, json.dumps(definition)))
    parts = {
        name: {"type": "string", "format": "binary", "description": said} for name, said in files.items()
    }
    form = schema | {"properties": schema["properties"] | parts}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}},
        }
    }


def site_geometry(site: Site) -> tuple[str, str]:
    """Seconds and size of the clips that a server makes, as text."""
    spec = site.catalog.spec
    return f"{spec.num_frames / spec.fps:g}", f"{spec.width}x{spec.height}"
