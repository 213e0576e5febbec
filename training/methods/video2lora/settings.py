"""What a person may set about Video2LoRA; apart from the module, so that a command line can check it without
loading torch."""

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Video2LoRASettings(BaseModel):
    """What is adapted and how it is predicted. The defaults are the paper's, the decoder's width ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    down_size: PositiveInt = Field(100, description="a: rows of A_aux, values of A_pred per rank")
    up_size: PositiveInt = Field(50, description="b: columns of B_aux, values of B_pred per rank")
    rank: PositiveInt = Field(1, description="r of the residual")
    scale: float = Field(1.0, description="s of the residual")
    targets: tuple[str, ...] = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
    share_qkv_down: bool = Field(
        False, description="one A_aux for q, k and v of a block, which read the same input"
    )
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
    identity_start: bool = Field(
        True, description="before the first step the adapted network is the frozen one"
    )
