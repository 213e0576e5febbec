"""What a person may set about the backbone; apart from what it sets up, so that a command line can check it
without loading torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from training.backbones.geometry import SampleGeometry

if TYPE_CHECKING:
    import torch


def _absolute(name: str) -> str:
    """A folder by its absolute path: workers have another working directory. Other names as they are."""
    if name == "pocket":
        return name
    try:
        folder = Path(name).expanduser()
        return str(folder.resolve()) if folder.is_dir() else name
    except OSError as error:  # longer than a file's name can be
        raise ValueError(f"it can be no folder ({error.strerror})") from None
    except RuntimeError as error:  # ~somebody whom this machine does not know
        raise ValueError(f"it can be no folder ({error})") from None


# What becomes of a first frame's latents on the way to the DiT's image channels, by the VAE's scaling factor.
FirstFrameScale = Literal["multiply", "divide", "none"]
# What may be a folder, or a name that means something by itself.
FolderOrName = Annotated[str, AfterValidator(_absolute)]


class BackboneSettings(BaseModel):
    """Which backbone, at which geometry and precision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["cogvideox", "wan"] = Field(
        "cogvideox", description="which kind of model the weights are"
    )
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

    first_frame_scale: FirstFrameScale | None = Field(
        None,
        description="of first frames' latents, by the VAE's scaling factor; null: as its configuration says",
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
