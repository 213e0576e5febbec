"""CogVideoX's transformer as the house knows a DiT."""

from collections.abc import Mapping, Sequence

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, nn

from training.backbones.base import Checkpointing, Scene
from training.backbones.cogvideox import cost
from training.backbones.cogvideox.conditioning import (
    predict_velocity,
    require_image_to_video,
    rotary_embedding,
    with_first_frame,
)
from training.backbones.cogvideox.diffusion import Diffusion


class CogVideoXDiT:
    """A CogVideoX-I2V transformer and its v-objective (see `training.backbones.base.DiT`).

    Raises:
        UnsupportedBackbone: no CogVideoX 1.0 image-to-video one, or it does not predict v.
    """

    family = "cogvideox"
    blocks_name = "transformer_blocks"

    def __init__(self, transformer: CogVideoXTransformer3DModel, scheduler_config: Mapping) -> None:
        require_image_to_video(transformer.config)
        self.module = transformer
        self.objective = Diffusion(scheduler_config)

    @property
    def latent_channels(self) -> int:
        return self.module.config.out_channels

    @property
    def text_shape(self) -> tuple[int, int]:
        return self.module.config.max_text_seq_length, self.module.config.text_embed_dim

    @property
    def blocks(self) -> nn.ModuleList:
        return self.module.transformer_blocks

    def velocity(self, noisy: Tensor, timesteps: Tensor, scene: Scene) -> Tensor:
        """v [B, F, C, h, w] for noisy latents at timesteps int64 [B], in the transformer's own dtype."""
        return predict_velocity(self.module, noisy, scene.first_frame, scene.text, timesteps)

    def first_frame_of(self, latents: Tensor) -> Tensor:
        """Their first latent frame: it is encoded from the first frame alone."""
        return latents[:, 0]

    def input_of(self, latents: Tensor, first_frame: Tensor) -> Tensor:
        """Latents and the first frame's on the channels, zeros after it: [B, F, 2C, h, w]."""
        return with_first_frame(latents, first_frame)

    def rotary(
        self, latent_shape: Sequence[int], device: torch.device, first: int = 0
    ) -> tuple[Tensor, Tensor] | None:
        """See `conditioning.rotary_embedding`."""
        frames, _, height, width = latent_shape
        return rotary_embedding(self.module.config, frames, height, width, device, first)

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of one sample's training step; see `cost.training_flops`."""
        return cost.training_flops(self.module.config, latent_shape, checkpointing)

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """See `cost.kept_values`."""
        return cost.kept_values(self.module.config, latent_shape, checkpointing)

    def tokens(self, latent_shape: Sequence[int]) -> int:
        """Text and video tokens of one sample."""
        return cost.all_tokens(self.module.config, latent_shape)
