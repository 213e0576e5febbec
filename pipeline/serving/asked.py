"""What somebody may ask of a server: references, a picture, a prompt, and how it is sampled."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from training.settings import GenerateSettings

LONGEST_PROMPT = 2_000
# Whose effects one clip may have.
MOST_REFERENCES = 8
# What a request may set of `generate`; null takes what the server's profile or the model says.
_SAMPLED = ("seed", "steps", "guidance", "adapter_guidance", "strength", "negative_prompt")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL")
    return text


Text = Annotated[str, AfterValidator(_storable)]
# What names a clip of the catalogue, or means to.
ClipName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Weight = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]


class Shown(BaseModel):
    """A video or a picture: a clip of the catalogue, or an upload that was looked at when it came in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["clip", "upload"]
    name: Text = Field(min_length=1, max_length=200)


class Sampling(BaseModel):
    """What is to happen, and how it is sampled.

    Attributes:
        model: None takes the server's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Text = Field("", max_length=LONGEST_PROMPT, description="what the scene shows")
    model: Text | None = Field(
        None, min_length=1, max_length=200, description="a model_id; null: the champion or newest one"
    )
    seed: int | None = Field(None, ge=0, lt=2**63)
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps")
    guidance: float | None = Field(None, ge=0, le=100, description="by the prompt", allow_inf_nan=False)
    adapter_guidance: float | None = Field(
        None, ge=0, le=100, description="by the adapter; more is more of the effect", allow_inf_nan=False
    )
    strength: float | None = Field(
        None, ge=-10, le=10, description="of the effect; below 0 away from it", allow_inf_nan=False
    )
    negative_prompt: Text | None = Field(
        None, max_length=LONGEST_PROMPT, description="what guidance above 1 leads away from"
    )
    polish: int | None = Field(
        None, ge=0, le=10_000, description="steps that fit the adapter to the reference itself"
    )

    def settings(self, given: GenerateSettings) -> GenerateSettings:
        """Those of the server, with what this request says otherwise."""
        said: dict[str, Any] = {
            name: value for name in _SAMPLED if (value := getattr(self, name)) is not None
        }
        return GenerateSettings.model_validate(given.model_dump() | said)


class Asked(Sampling):
    """One request.

    Attributes:
        reference: whose effect is wanted.
        also: further ones, whose effects are added.
        weights: of all of these, one each; None takes them alike.
        first_frame: what it is to happen to.
        group: what was asked for together, and is compared.
    """

    reference: Shown
    also: tuple[Shown, ...] = Field((), max_length=MOST_REFERENCES - 1)
    weights: tuple[Weight, ...] | None = None
    first_frame: Shown
    group: Text | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.references):
            raise ValueError(
                f"{len(self.references)} references have {len(self.weights)} weights; give each one, or none"
            )
        return self

    @property
    def references(self) -> tuple[Shown, ...]:
        """All of them."""
        return (self.reference, *self.also)
