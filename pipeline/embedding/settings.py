"""Which model embeds clips; apart from the model, so that reading a profile does not import open_clip."""

from pydantic import BaseModel, ConfigDict, Field


class EmbedSettings(BaseModel):
    """Which model embeds clips, and how the work is spread.

    Attributes:
        model: a name that open_clip knows, or "tiny"; what a folder or "pocket" holds is a model itself.
        pretrained: one of open_clip's tags (downloaded once), a weights file, a folder that holds weights and
            open_clip_config.json, "pocket" for the one that ships with the project, or "random:<seed>" for
            random weights, which tell little apart.
        frames: frames per clip, spread evenly; `descriptor.py` makes one vector of theirs.
        batch_size: clips that one actor takes at a time.
        actors, cpus_per_actor, gpus_per_actor: size of the pool and what each of it occupies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "ViT-L-14"
    pretrained: str = "openai"
    frames: int = Field(8, ge=1)
    batch_size: int = Field(8, ge=1)
    actors: int = Field(1, ge=1)
    cpus_per_actor: float = Field(1.0, ge=0)
    gpus_per_actor: float = Field(0.0, ge=0)
