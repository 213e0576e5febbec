"""What a person may set about the backbone, the method and sampling; apart from what it sets up, so that a
command line can check it without loading torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from training.geometry import SampleGeometry

if TYPE_CHECKING:
    import torch


def _absolute(name: str) -> str:
    """A folder by its absolute path: workers have another working directory. Other names as they are."""
    if name == "pocket" or not Path(name).expanduser().is_dir():
        return name
    return str(Path(name).expanduser().resolve())


# What may be a folder, or a name that means something by itself.
FolderOrName = Annotated[str, AfterValidator(_absolute)]


class BackboneSettings(BaseModel):
    """Which backbone, at which geometry and precision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: FolderOrName = Field(
        "random:0", description='hub name, folder in the hub\'s layout, "pocket", or "random:<seed>"'
    )
    num_frames: int = 49
    height: int = 480
    width: int = 720
    max_text_tokens: PositiveInt = 226
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    vae_tiling: bool = Field(
        False, description="encode and decode in tiles: less memory, slightly other latents"
    )

    @property
    def geometry(self) -> SampleGeometry:
        """The sample geometry; raises InvalidGeometry."""
        return SampleGeometry(self.num_frames, self.height, self.width)

    @property
    def random_weights(self) -> bool:
        """Whether nothing ever trained these weights: what they generate is noise."""
        return self.model.startswith("random:")

    @property
    def torch_dtype(self) -> "torch.dtype":
        import torch

        return getattr(torch, self.dtype)


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


class GenerateSettings(BaseModel):
    """How videos are sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: PositiveInt = Field(50, description="denoising steps")
    guidance: float = Field(
        6.0, ge=0, description="classifier-free guidance; 1 or less runs the prompt alone"
    )
    adapter_guidance: float = Field(
        1.0, ge=0, description="away from what the backbone does without the adapter; 1: the adapter as it is"
    )
    seed: int = Field(0, ge=0)
