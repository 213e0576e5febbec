"""The geometry of a backbone's samples: how many frames, how high, how wide."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.errors import InvalidGeometry


@dataclass(frozen=True)
class SampleGeometry:
    """Frames, height and width (pixels) of what a backbone denoises; at most as large as the stored clips.

    Raises:
        InvalidGeometry: frames are not 4k + 1 (the VAE keeps the first frame and packs the others by four),
            or height or width is no positive multiple of 16 (8 for the VAE, 2 for the DiT's patches).
    """

    num_frames: int = 49
    height: int = 480
    width: int = 720

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.num_frames % 4 != 1:
            near = max(1, round((self.num_frames - 1) / 4) * 4 + 1)
            raise InvalidGeometry(
                f"A sample cannot have {self.num_frames} frames: the VAE needs 4k + 1. Set it to {near}."
            )
        for name, value in (("height", self.height), ("width", self.width)):
            if value < 16 or value % 16:
                near = max(16, round(value / 16) * 16)
                raise InvalidGeometry(
                    f"A sample's {name} cannot be {value} pixels, only multiples of 16. Set it to {near}."
                )

    def __str__(self) -> str:
        return f"{self.num_frames}f-{self.height}x{self.width}"

    def latent_shape(self, vae_config: Mapping) -> tuple[int, int, int, int]:
        """Shape [F, C, h, w] of the latents of one sample under a VAE's configuration."""
        spatial = 2 ** (len(vae_config["block_out_channels"]) - 1)
        frames = (self.num_frames - 1) // int(vae_config["temporal_compression_ratio"]) + 1
        return frames, int(vae_config["latent_channels"]), self.height // spatial, self.width // spatial
