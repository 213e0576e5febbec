"""What a person may set about Video-As-Prompt."""

from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from training.methods.settings import LossSettings


class VideoAsPromptSettings(LossSettings):
    """Where the experts stand; by default, as released: beside every block but the last."""

    needs: ClassVar[frozenset[str]] = frozenset({"latents", "first_frame", "text"})

    kind: Literal["video_as_prompt"] = "video_as_prompt"
    expert_layers: tuple[NonNegativeInt, ...] | None = Field(
        None, description="blocks that get an expert, by number; null: all but the last"
    )
    references: PositiveInt = Field(1, description="references of a target, at most")

    @property
    def references_per_target(self) -> int:
        return self.references

    def structure(self) -> dict[str, Any]:
        """The layers alone: an expert reads any number of references."""
        return {name: value for name, value in super().structure().items() if name != "references"}
