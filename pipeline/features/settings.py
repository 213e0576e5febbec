"""How clips are encoded; apart from the encoder, so that reading a profile loads no weights' library."""

from pydantic import BaseModel, ConfigDict, Field


class EncodeSettings(BaseModel):
    """How clips are encoded.

    Attributes:
        first_frame_variants: noised encodings of the first frame beside the clean one, to draw from.
        batch_size: clips that one actor takes at a time (captions together, videos one by one).
        actors, cpus_per_actor, gpus_per_actor: size of the pool and what each of it occupies.
        uncategorised: also encode clips without a category, which cannot be paired.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_frame_variants: int = Field(4, ge=0)
    batch_size: int = Field(4, ge=1)
    actors: int = Field(1, ge=1)
    cpus_per_actor: float = Field(1.0, ge=0)
    gpus_per_actor: float = Field(0.0, ge=0)
    uncategorised: bool = False
