"""A profile is one set of configuration values for every step; no code asks which one it is in."""

import difflib
import json
import tomllib
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from catalog.clip_spec import ClipSpec
from jobs.errors import BadProfile
from jobs.usage import wording
from pipeline.curation.duplicates import DuplicateSettings
from pipeline.curation.membership import ClusterSettings
from pipeline.embedding.settings import EmbedSettings
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.features.settings import EncodeSettings
from pipeline.intake.settings import IngestSettings
from pipeline.pairing.plan import PairSettings
from pipeline.retraining.settings import RetrainSettings
from pipeline.serving.settings import ServeSettings
from training.backbones.settings import BackboneSettings
from training.methods.registry import DEFAULT, KINDS, MethodSettings, kind_of
from training.run.settings import TrainSettings
from training.settings import EditSettings, GenerateSettings

STORED = "profile.json"


class ExampleSettings(BaseModel):
    """What `run` generates for its page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(3, ge=0, le=100, description="clips, each of another category")
    polish: int = Field(
        0,
        ge=0,
        le=10_000,
        description="steps of polish of a second clip beside each, as `generate --polish`; 0: no second one",
    )


class Profile(BaseModel):
    """Every step's settings, validated together before anything runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    description: str = ""
    clip: ClipSpec = ClipSpec()
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    dedup: DuplicateSettings = Field(default_factory=DuplicateSettings)
    embed: EmbedSettings = Field(default_factory=EmbedSettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    backbone: BackboneSettings = Field(default_factory=BackboneSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    method: MethodSettings = Field(default_factory=KINDS[DEFAULT])
    pairs: PairSettings = Field(default_factory=PairSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    examples: ExampleSettings = Field(default_factory=ExampleSettings)
    edit: EditSettings = Field(default_factory=EditSettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)

    @field_validator("clip", mode="before")
    @classmethod
    def _clip_keys_are_known(cls, value: Any) -> Any:
        # A standard dataclass ignores keys that it does not know.
        known = [f.name for f in fields(ClipSpec)]
        if isinstance(value, dict) and (unknown := set(value) - set(known)):
            raise BadProfile(f"Unknown key 'clip.{min(unknown)}'; known here: {', '.join(known)}.")
        return value


def shipped() -> list[str]:
    """Names of the profiles that come with the project."""
    folder = resources.files("jobs") / "profiles"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def stored_profile(workdir: Path) -> str:
    """The profile that a working directory's first command stored there; `tiny` for a new one."""
    return str(workdir / STORED) if (workdir / STORED).exists() else "tiny"


def load_profile(name_or_path: str, overrides: list[str] | None = None) -> Profile:
    """Read a shipped profile by name, or a TOML or JSON file by path; apply `section.key=value` overrides.

    Raises:
        BadProfile: no such profile, text that is not TOML, an unknown key, a value of the wrong kind.
    """
    values, origin = _read(name_or_path)
    shaped = kind_of(values.get("method", {}))
    changes = [_parse(override) for override in overrides or []]
    for path, value, _ in changes:
        if path == ["method", "kind"] and value in KINDS and value != shaped:
            _fit_method(values, value)
    for path, value, override in changes:
        _apply(values, path, value, override)
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise BadProfile(_sentence(error, origin, changes)) from None


def _read(name_or_path: str) -> tuple[dict[str, Any], str]:
    if name_or_path in shipped():
        text = (resources.files("jobs") / "profiles" / f"{name_or_path}.toml").read_text("utf-8")
        return tomllib.loads(text), f"profile {name_or_path!r}"
    path = Path(name_or_path)
    if not path.is_file():
        raise BadProfile(
            f"No profile named {name_or_path!r} and no file of that path. "
            f"Shipped profiles: {', '.join(shipped())}; or name a .toml file."
        )
    try:
        text = path.read_text("utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise BadProfile(
            f"Profile {path} cannot be read: {error}. A shipped one to start from: tiny."
        ) from None
    if not isinstance(values, dict):
        raise BadProfile(f"Profile {path} holds no table of settings. A shipped one to start from: tiny.")
    return values, f"profile {path}"


def _parse(override: str) -> tuple[list[str], Any, str]:
    """`section.key=value` → its path, its value, and the text."""
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise BadProfile(
            f"--set {override!r} is not of the form section.key=value, as in --set train.steps=200."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A bare word is a string, so that --set backbone.model=/models/cog needs no quotes; TOML has no null.
        value = None if text.strip() == "null" else text
    return path, value, override


def _apply(values: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise BadProfile(f"--set {override!r}: {part!r} is a value, not a section.")
    values[path[-1]] = value


def _fit_method(values: dict[str, Any], kind: str) -> None:
    """Leave of a profile's method what another kind knows too: its other settings are of its own kind."""
    known = KINDS[kind].model_fields
    values["method"] = {name: value for name, value in values.get("method", {}).items() if name in known}


def _sentence(error: ValidationError, origin: str, changes: list[tuple[list[str], Any, str]]) -> str:
    first = error.errors()[0]
    # A method's settings stand under its kind, which nobody types.
    typed = [part for place, part in enumerate(first["loc"]) if (place, first["loc"][0]) != (1, "method")]
    where = ".".join(map(str, typed))
    for path, _, override in changes:
        # Behind a setting's own name stands which of its kinds was tried.
        if typed[: len(path)] == path or path[: len(typed)] == typed:
            where, origin = ".".join(path), f"--set {override}"
            if first["type"] != "extra_forbidden":
                return f"{origin} {wording(first)}."
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
        return f"Unknown key {where!r} in {origin}; {hint}"
    return f"{origin[0].upper()}{origin[1:]}: {where} = {first['input']!r} {wording(first)}."


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    model: Any = Profile
    for part in path:
        model = KINDS.get(part) or model.model_fields[part].annotation
    return sorted(model.model_fields)
