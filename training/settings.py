"""What a person may set about sampling; apart from what it sets, so that a command line can check it without
loading torch."""

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class GenerateSettings(BaseModel):
    """How videos are sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The schedules have 1,000 timesteps, and torch takes seeds of 63 bits.
    steps: PositiveInt = Field(50, le=1000, description="denoising steps")
    guidance: float = Field(
        6.0, ge=0, description="classifier-free guidance; 1 or less runs the prompt alone"
    )
    adapter_guidance: float = Field(
        1.0, ge=0, description="away from what the backbone does without the adapter; 1: the adapter as it is"
    )
    seed: int = Field(0, ge=0, lt=2**63)
