"""What a program or a form says when it asks for a clip, as JSON or as fields, and the files it brings."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, TypeVar

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteException

from jobs.usage import wording
from jobs.web.site import Site
from pipeline.errors import BadSource
from pipeline.serving.asked import MOST_REFERENCES, Asked, ClipName, Sampling, Shown, Weight
from pipeline.serving.desk import Desk

# Bytes of a request: two uploads, and what stands around them.
LARGEST_REQUEST = 1024 * 2**20
_FIELD = 2**16
LONGEST_KEY = 200
# What a part of a form may say that it is.
_MEDIA = ("video/", "image/", "application/octet-stream")
M = TypeVar("M", bound=BaseModel)


def _listed(given: Any) -> Any:
    """Several values, also where they stand in one text, as a field of a page has them; or a single one."""
    if isinstance(given, str):
        return [part for part in re.split(r"[,;\s]+", given) if part]
    return [given] if isinstance(given, int | float) else given


class NewRequest(Sampling):
    """A clip that is asked for. References and first frame are clip_ids here, or uploaded files."""

    reference_clip: Annotated[list[ClipName] | None, BeforeValidator(_listed, str | list[str] | None)] = (
        Field(None, max_length=MOST_REFERENCES, description="a clip_id, or several whose effects add up")
    )
    weights: Annotated[list[Weight] | None, BeforeValidator(_listed)] = Field(
        None,
        max_length=MOST_REFERENCES,
        description="of the references, one each: of files in their order, then of clips; null: alike",
    )
    first_frame_clip: ClipName | None = None


@dataclass(frozen=True)
class Intake:
    """What was sent.

    Attributes:
        fields: by name; a list where a form says a name several times.
        files: by name, in their order.
        typed: whether values have types (JSON), or are all text (a form).
    """

    fields: dict[str, Any]
    files: dict[str, list[UploadFile]]
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
        form = await request.form(max_files=MOST_REFERENCES + 1, max_fields=64, max_part_size=_FIELD)
    except StarletteException as error:
        if error.status_code == 413:
            raise
        said = str(error.detail).rstrip(".")
        raise HTTPException(422, f"The form cannot be read: {said}.") from error
    # A field that a person left empty says nothing.
    fields: defaultdict[str, list[str]] = defaultdict(list)
    files: defaultdict[str, list[UploadFile]] = defaultdict(list)
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files[name].append(value)
        elif value.strip():
            fields[name].append(value)
    said = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    return Intake(said, dict(files), typed=False)


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


def references_of(desk: Desk, owner: str, intake: Intake, new: NewRequest) -> list[Shown]:
    """The files that were sent, in their order, then the clips that are named; see `_kept` for more.

    Raises:
        HTTPException: 422, none at all, too many, or weights that are not one each.
    """
    files, clips = intake.files.get("reference", []), new.reference_clip or []
    count = len(files) + len(clips)
    if not count:
        raise HTTPException(
            422, "'reference' is an uploaded file, or reference_clip a clip_id; neither is there."
        )
    if count > MOST_REFERENCES:
        raise HTTPException(422, f"{count} references are too many; at most {MOST_REFERENCES} are added up.")
    if new.weights is not None and len(new.weights) != count:
        raise HTTPException(
            422,
            f"'weights' are {len(new.weights)}, of {count} references (files, then clips): give each one, or"
            " none.",
        )
    kept = [_kept(desk, owner, "reference", file, desk.uploads.take_reference) for file in files]
    return [*kept, *(Shown(kind="clip", name=clip) for clip in clips)]


def first_frame_of(desk: Desk, owner: str, intake: Intake, clip: str | None) -> Shown:
    """The picture that was sent, or the clip that is named; see `_kept` for more.

    Raises:
        HTTPException: 422, neither or both.
    """
    files = intake.files.get("first_frame", [])
    if len(files) + (clip is not None) != 1:
        both = "more than one is" if files else "neither is"
        raise HTTPException(
            422, f"'first_frame' is an uploaded file, or first_frame_clip a clip_id; {both} there."
        )
    if clip is not None:
        return Shown(kind="clip", name=clip)
    return _kept(desk, owner, "first_frame", files[0], desk.uploads.take_first_frame)


def _kept(desk: Desk, owner: str, name: str, file: UploadFile, take: Callable[[BinaryIO, str], str]) -> Shown:
    """A file that was sent, decoded in the sandbox.

    Raises:
        HTTPException: 422, a file that shows nothing; 413 and 415, one too large or of another kind.
    """
    kind = file.content_type or "application/octet-stream"
    if not kind.startswith(_MEDIA):
        raise HTTPException(415, f"{name!r} is {kind[:80]!r}; send a video or a picture.")
    most = desk.settings.max_upload_mb
    if (file.size or 0) > most * 2**20:
        raise HTTPException(
            413, f"{name!r} has {(file.size or 0) / 2**20:.0f} MB; at most {most} MB are taken."
        )
    try:
        return Shown(kind="upload", name=take(file.file, owner))
    except BadSource as error:
        raise HTTPException(422, f"{name!r}: {error}") from error


def asked_of(desk: Desk, owner: str, intake: Intake, new: NewRequest, group: str | None = None) -> Asked:
    """The request that is meant; see `references_of` and `first_frame_of` for what it raises."""
    first, *others = references_of(desk, owner, intake, new)
    return Asked(
        **new.model_dump(exclude={"reference_clip", "first_frame_clip"}),
        reference=first,
        also=tuple(others),
        first_frame=first_frame_of(desk, owner, intake, new.first_frame_clip),
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
