"""From scores to a verdict: thresholds that a file can set and a category can override."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from catalog.names import CategoryNames, normalise_label
from catalog.vocabulary import Status
from pipeline.errors import PipelineError
from pipeline.video.quality import SCORES


class BadPolicy(PipelineError):
    """A policy file that does not say what it means."""


class Bounds(BaseModel):
    """What a score may be; None leaves a side open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Bounds":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def _defaults() -> dict[str, Bounds]:
    # Only what is certainly no effect: a still, and a clip black throughout. Static cameras, dissolves
    # to black, flashes and whip pans all score well inside; all else is for a policy file to exclude. And
    # what the decoder had to invent in large part: grey or green blocks are no effect either.
    return {"motion": Bounds(min=0.0002), "brightness": Bounds(min=0.01), "errors": Bounds(max=0.2)}


class QualityPolicy(BaseModel):
    """`scores` holds for every clip; `categories` replaces single bounds for a category.

    As a file::

        [scores]
        motion = {min = 0.001}
        letterbox = {max = 0.3}

        [categories.flash]
        flicker = {max = 1.0}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: dict[str, Bounds] = Field(default_factory=_defaults)
    categories: dict[str, dict[str, Bounds]] = Field(default_factory=dict)

    @field_validator("scores")
    @classmethod
    def _known(cls, bounds: dict[str, Bounds]) -> dict[str, Bounds]:
        for name in bounds:
            if name not in SCORES:
                raise ValueError(f"no score is called {name!r}; there are {', '.join(SCORES)}")
        return bounds

    @field_validator("categories")
    @classmethod
    def _by_category(cls, categories: dict[str, dict[str, Bounds]]) -> dict[str, dict[str, Bounds]]:
        for bounds in categories.values():
            cls._known(bounds)
        return {normalise_label(name) or name: bounds for name, bounds in categories.items()}


class Verdict(NamedTuple):
    """`status` is `accepted` or `rejected`; code and reason are None where accepted."""

    status: Status
    code: str | None = None
    reason: str | None = None


def judge(scores: dict, category: str | None, policy: QualityPolicy) -> Verdict:
    """Hold a clip's scores against the policy; a score that is None breaks no bound."""
    bounds = policy.scores | policy.categories.get(category or "", {})
    for name, limit in bounds.items():
        value = scores.get(name)
        if value is None:
            continue
        if limit.min is not None and value < limit.min:
            return Verdict(Status.REJECTED, f"{name}_low", f"Its {name} is {value:.4g}, below {limit.min:g}.")
        if limit.max is not None and value > limit.max:
            return Verdict(
                Status.REJECTED, f"{name}_high", f"Its {name} is {value:.4g}, above {limit.max:g}."
            )
    return Verdict(Status.ACCEPTED)


def by_category_id(policy: QualityPolicy, names: CategoryNames) -> tuple[QualityPolicy, dict[str, str]]:
    """The policy with the bounds of a category under every id that its name means.

    Returns:
        That policy, and the names that no category has yet, each with the end of a sentence that says which
        are near.
    """
    categories, unknown = dict(policy.categories), {}
    for name, bounds in policy.categories.items():
        try:
            categories |= dict.fromkeys(names.ids_named(name), bounds)
        except KeyError as error:
            unknown[name] = error.args[0]
    return policy.model_copy(update={"categories": categories}), unknown


def load_policy(path: str | Path) -> QualityPolicy:
    """Read a policy from a TOML file.

    Raises:
        BadPolicy: no such file, not TOML, or an unknown score or key.
    """
    path = Path(path)
    try:
        return QualityPolicy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BadPolicy(f"There is no policy file {str(path)!r}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPolicy(f"The policy file {str(path)!r} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadPolicy(f"The policy file {str(path)!r} is wrong at {where}: {first['msg']}.") from error
