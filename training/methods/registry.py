"""The one file that names methods: which there are, their settings, and how each is built.

Settings are imported here without torch, modules only when one is built.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from training.errors import BadMethodSettings, WeightsUnreachable
from training.methods.category_lora.settings import CategoryLoRASettings
from training.methods.lora_edit.settings import LoRAEditSettings
from training.methods.settings import LossSettings
from training.methods.video2lora.settings import Video2LoRASettings
from training.methods.video_as_prompt.settings import VideoAsPromptSettings

if TYPE_CHECKING:
    from training.backbones.base import DiT
    from training.methods.base import Method

KINDS: dict[str, type[LossSettings]] = {
    "video2lora": Video2LoRASettings,
    "category_lora": CategoryLoRASettings,
    "video_as_prompt": VideoAsPromptSettings,
    "lora_edit": LoRAEditSettings,
}
DEFAULT = "video2lora"


def kind_of(value: Any) -> str:
    """The kind that a table of settings, or settings, are of."""
    return value.get("kind", DEFAULT) if isinstance(value, dict) else getattr(value, "kind", DEFAULT)


MethodSettings = Annotated[
    Annotated[Video2LoRASettings, Tag("video2lora")]
    | Annotated[CategoryLoRASettings, Tag("category_lora")]
    | Annotated[VideoAsPromptSettings, Tag("video_as_prompt")]
    | Annotated[LoRAEditSettings, Tag("lora_edit")],
    Discriminator(kind_of),
]
_ADAPTER: TypeAdapter[MethodSettings] = TypeAdapter(MethodSettings)


def parse_settings(values: dict[str, Any]) -> MethodSettings:
    """Settings of the kind that `values` name; raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(values)


def build_method(
    settings: MethodSettings, dit: "DiT", categories: Sequence[str] = (), seed: int = 0
) -> "Method":
    """The module of a method on a frozen DiT, which it adapts in place.

    Args:
        categories: that train, sorted; a method with something of its own for each needs them.
        seed: of the initial values.

    Raises:
        BadMethodSettings: settings that do not fit the DiT or the data.
    """
    match settings:
        case Video2LoRASettings():
            from training.methods.video2lora.method import Video2LoRA

            return Video2LoRA(dit, settings, seed)
        case CategoryLoRASettings():
            from training.methods.category_lora.method import CategoryLoRA

            return CategoryLoRA(dit, settings, categories, seed)
        case VideoAsPromptSettings():
            from training.methods.video_as_prompt.method import VideoAsPrompt

            return VideoAsPrompt(dit, settings)
        case LoRAEditSettings():
            from training.methods.lora_edit.method import LoRAEdit

            return LoRAEdit(dit, settings, seed)


def released(folder: Path) -> tuple[MethodSettings, Callable[["Method"], None]]:
    """Settings of the method whose authors' checkpoint lies in a folder, and what copies it into the module.

    Raises:
        WeightsUnreachable: none does that can be read.
    """
    if (folder / "model.json").is_file():
        raise WeightsUnreachable(
            f"{folder} is a model of this project, no released checkpoint: train.start_from={folder} begins"
            " with it."
        )
    from training.methods.video_as_prompt.released import load_released, released_settings

    return released_settings(folder), partial(load_released, folder=folder)


def for_one_video(kind: str) -> bool:
    """Whether a method of that kind is fitted to one video, not trained on pairs."""
    return kind in KINDS and KINDS[kind].per_video


def require_pairs(settings: MethodSettings) -> None:
    """Check that a method is trained on pairs; raises BadMethodSettings where it is fitted to one video."""
    if settings.per_video:
        raise BadMethodSettings(
            f"method.kind={settings.kind} is fitted to one video, not trained on pairs of a catalogue:"
            " `video2lora edit --video …`, or another method.kind."
        )


def editing(rank: int) -> LoRAEditSettings:
    """Settings of the method that edits videos. A profile's own method trains, and says nothing about it."""
    return LoRAEditSettings.model_validate({"rank": rank})


def edit_masks() -> ModuleType:
    """What of a video that method changes: pure functions that need no model."""
    from training.methods.lora_edit import masks

    return masks


def edit_windows(count: int, size: int | None) -> list[slice]:
    """The parts of a video that that method is fitted on; raises BadMethodSettings."""
    from training.methods.lora_edit.windows import windows

    return windows(count, size)
