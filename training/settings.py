"""What a person may set about sampling; apart from what it sets, so that a command line can check it without
loading torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class PolishSettings(BaseModel):
    """How an adapter is fitted to its reference after it was predicted; see `training.polish`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(
        0, ge=0, le=10_000, description="each costs `batch_size` forward and backward passes; 0: as predicted"
    )
    lr: float = Field(0.03, gt=0, le=1, description="of Adam, at the first step")
    last_lr: float = Field(0.1, gt=0, le=1, description="the rate at the last step, as a share of the first")
    batch_size: PositiveInt = Field(4, description="noises and timesteps of a step, for each adapter")
    timestep_shift: float = Field(
        4.0, ge=1, le=100, description="of the timesteps, towards noise; 1: uniform"
    )
    at_once: PositiveInt | None = Field(
        None, description="of the samples of a step, in memory together; null: all of them"
    )
    activation_checkpointing: Literal["none", "full"] = Field(
        "none", description="full: forget what the blocks computed and compute it again, for less memory"
    )
    augment: int = Field(
        0, ge=0, le=64, description="further copies of the reference, cropped and relit, to learn from"
    )
    held_out: int = Field(
        0,
        ge=0,
        le=1_000,
        description="noises and timesteps that none learns from, by which the best step is kept; 0: the last",
    )
    look_every: PositiveInt = Field(5, description="steps between two looks at the held-out ones")
    patience: PositiveInt = Field(20, description="steps without a better look after which it ends")


class EditSettings(BaseModel):
    """How a video is edited: how its LoRA is fitted (see `training.video_fit`), how the edit is sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: PositiveInt = Field(16, description="r of the LoRA; its alpha is the same")
    steps: int = Field(100, ge=0, le=100_000, description="of the fit on the video")
    also_steps: int = Field(
        90, ge=0, le=100_000, description="further ones on edited frames, and one on the video for every nine"
    )
    lr: float = Field(1e-4, gt=0, le=1, description="of AdamW")
    window: int | None = Field(
        None, ge=5, description="frames of each window that it is fitted on, 4k + 1 (13); null: all at once"
    )
    activation_checkpointing: Literal["none", "full"] = Field(
        "none", description="full: forget what the blocks computed and compute it again, for less memory"
    )
    save_every: PositiveInt = Field(20, description="steps of the fit between two saved states")
    token: str = Field("p3rs0n,", description="before every caption and prompt of the video")
    sampling_steps: PositiveInt = Field(30, le=1000, description="denoising steps")
    guidance: float = Field(
        5.0, ge=0, description="classifier-free guidance; 1 or less runs the prompt alone"
    )
    shift: float = Field(5.0, gt=0, description="of the sampler's timesteps, towards noise")
    put_back: bool = Field(
        True, description="what the mask preserves is the video's own pixels; false: as the model makes them"
    )
    seed: int = Field(0, ge=0, lt=2**63)
    gpus: float = Field(1.0, gt=0, le=1, description="share of a GPU that each of many edits takes")


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
    strength: float = Field(
        1.0,
        ge=-10,
        le=10,
        description="of the adapter; 0: the backbone as it was frozen, less than 0: away from the effect",
    )
    dynamic_guidance: bool = Field(
        False, description="guidance along a cosine of the timestep, as diffusers' use_dynamic_cfg"
    )
    negative_prompt: str = Field("", description="what guidance above 1 leads away from")
    seed: int = Field(0, ge=0, lt=2**63)
    polish: PolishSettings = Field(default_factory=PolishSettings)
