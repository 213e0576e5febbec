"""What a person may set about any method: which timesteps teach it, and how they are weighted.

Settings stand apart from the modules, so that a command line can check them without loading torch.
"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from training.errors import BadMethodSettings


class LossSettings(BaseModel):
    """What all methods' settings have in common. Of a kind, and no setting, are five facts:

    Attributes:
        needs: what the stream delivers of a reference beside its category: "latents", "first_frame", "text".
        per_category: whether something is learned for each category.
        per_video: whether it is fitted to one video (`video2lora edit`), not to pairs of the catalogue.
        predicts: whether it predicts adapters from references, so that a teacher can show it some
            (`train.teacher`).
        families: the backbones it takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs: ClassVar[frozenset[str]]
    per_category: ClassVar[bool] = False
    per_video: ClassVar[bool] = False
    predicts: ClassVar[bool] = False
    families: ClassVar[frozenset[str]] = frozenset({"cogvideox"})

    timestep_shift: float = Field(
        1.0, ge=1, le=100, description="of the timesteps trained on, towards noise; 1: uniform"
    )
    min_snr_gamma: float | None = Field(None, gt=0, description="of min-SNR weighting; null: the plain loss")

    @property
    def references_per_target(self) -> int:
        """References that a target is trained with."""
        return 1

    def structure(self) -> dict[str, Any]:
        """The settings that decide what the trained tensors are; the rest decides how they are trained."""
        return self.model_dump(mode="json", exclude={"timestep_shift", "min_snr_gamma"})

    def adapter(self) -> dict[str, Any]:
        """The settings that decide what the numbers of an adapter are; {} of a method that makes none."""
        return {}


def require_predictions(settings: LossSettings) -> None:
    """Check that a teacher has something to show a method; raises BadMethodSettings."""
    if not settings.predicts:
        kind = getattr(settings, "kind", type(settings).__name__)
        raise BadMethodSettings(
            f"method.kind={kind} predicts no adapter from a reference, and train.teacher names some to be"
            " predicted: set train.teacher=null, or method.kind=video2lora."
        )
