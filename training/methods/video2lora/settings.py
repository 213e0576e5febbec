"""What a person may set about Video2LoRA."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from training.methods.lightlora.settings import LightLoRASettings


class Video2LoRASettings(LightLoRASettings):
    """What is adapted and how it is predicted. The defaults are the paper's, the decoder's width ours."""

    needs: ClassVar[frozenset[str]] = frozenset({"latents"})
    predicts: ClassVar[bool] = True

    kind: Literal["video2lora"] = "video2lora"
    width: PositiveInt = Field(128, description="width of the hypernetwork's decoder")
    heads: PositiveInt = 4
    layers: PositiveInt = Field(4, description="blocks of the decoder")
    refinements: PositiveInt = Field(4, description="s of the paper: iterations of the decoder")
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (1, 2, 2), description="latent cells per video token"
    )
    positions: bool = Field(True, description="3-D positions of the video tokens")
    motion: bool = Field(False, description="video tokens also hold what changed since the first frame")
    video_layers: int = Field(0, ge=0, description="blocks in which the video tokens see each other")
    gradient_refinement: bool = Field(
        False,
        description="each iteration also sees the gradient of the reference's own loss, for a forward and a"
        " backward pass of the frozen model for each of `gradient_draws`",
    )
    gradient_draws: PositiveInt = Field(
        2, description="noises and timesteps of that loss in an iteration, one after another"
    )
    identity_start: bool = Field(
        True, description="before the first step the adapted network is the frozen one"
    )
