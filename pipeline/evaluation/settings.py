"""How a model is evaluated; apart from what evaluates it, so that reading a profile loads no network."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

SAFE = "a .safetensors file, or org/name/file.safetensors of the hub; null: that metric is unavailable"


class EvaluateSettings(BaseModel):
    """Which clips are generated, which networks measure them, and how the work is spread."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_category: PositiveInt = Field(4, description="held-out clips of each category that are generated for")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of noises, of draws, and of left and right in a blind page"
    )
    i3d: str | None = Field(None, description=f"FVD's I3D (see training/evaluation/i3d.py): {SAFE}")
    raft: str | None = Field(None, description=f"dynamic degree's RAFT, as torchvision names it: {SAFE}")
    dino: str | None = Field(None, description=f"subject consistency's ViT-B/16, as timm names it: {SAFE}")
    aesthetic_head: str | None = Field(None, description=f"LAION's linear head of 768 weights: {SAFE}")
    aesthetic_clip: str = Field(
        "openai", description="weights of ViT-L-14 under the head: a tag of open_clip, a file or a folder"
    )
    interpolator: Literal["dis-flow", "blend"] = Field(
        "dis-flow", description="what motion smoothness guesses frames with; VBench's AMT-S is not free"
    )
    effect_classifier: str | None = Field(
        None,
        description="a classifier that an evaluation saved; null: one is trained on the catalogue's clips",
    )
    effect_clips: PositiveInt = Field(
        64, description="clips of each category that teach the classifier, at most"
    )
    effect_epochs: PositiveInt = Field(60, description="passes over them")
    draws: PositiveInt = Field(4, description="noises and timesteps of a pair, for the transfer gap")
    actors: PositiveInt = Field(
        1, description="workers that generate, and then measure; each loads the model"
    )
    cpus_per_actor: float = Field(1.0, ge=0)
    gpus_per_actor: float = Field(0.0, ge=0)
