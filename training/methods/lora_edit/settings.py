"""What a person may set about LoRA-Edit."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from training.methods.settings import LossSettings


class LoRAEditSettings(LossSettings):
    """How wide the LoRA of a video is; how it is fitted, `training.settings.EditSettings` say."""

    needs: ClassVar[frozenset[str]] = frozenset()
    families: ClassVar[frozenset[str]] = frozenset({"wan"})
    per_video: ClassVar[bool] = True

    kind: Literal["lora_edit"] = "lora_edit"
    rank: PositiveInt = Field(16, description="r of the LoRA; its alpha is the same")
