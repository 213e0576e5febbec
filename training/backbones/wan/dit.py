"""Wan's transformer as the house knows a DiT."""

from collections.abc import Mapping, Sequence

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from training.backbones.base import Checkpointing, Scene
from training.backbones.wan import cost
from training.backbones.wan.conditioning import (
    TEXT_TOKENS,
    kept_mask,
    predict_flow,
    require_image_to_video,
    unpacked,
)
from training.backbones.wan.flow import FlowMatching
from training.errors import UnsupportedBackbone


class WanDiT:
    """A Wan 2.1 image-to-video transformer and its flow (see `training.backbones.base.DiT`).

    Args:
        transformer, scheduler_config: as loaded.
        image_tokens: that its image encoder makes of a picture.

    Raises:
        UnsupportedBackbone: no Wan 2.1 image-to-video one, or it does not predict a flow.
    """

    family = "wan"
    blocks_name = "blocks"

    def __init__(
        self,
        transformer: WanTransformer3DModel,
        scheduler_config: Mapping,
        image_tokens: int = cost.IMAGE_TOKENS,
    ) -> None:
        require_image_to_video(transformer.config)
        self.image_tokens = image_tokens
        self.module = transformer
        self.objective = FlowMatching(scheduler_config)

    @property
    def latent_channels(self) -> int:
        return self.module.config.out_channels

    @property
    def text_shape(self) -> tuple[int, int]:
        return TEXT_TOKENS, self.module.config.text_dim

    @property
    def blocks(self) -> nn.ModuleList:
        return self.module.blocks

    def velocity(self, noisy: Tensor, timesteps: Tensor, scene: Scene) -> Tensor:
        """The flow [B, F, C, h, w] of noisy latents at timesteps [B], in the transformer's own dtype."""
        return predict_flow(self.module, noisy, scene, timesteps)

    def first_frame_of(self, latents: Tensor) -> Tensor:
        """Their first latent frame with zeros after it, and zeros for CLIP's state."""
        condition = torch.zeros_like(latents)
        condition[:, 0] = latents[:, 0]
        image = latents.new_zeros(len(latents), self.image_tokens * self.module.config.image_dim)
        return torch.cat([condition.flatten(1), image], dim=1)

    def input_of(self, latents: Tensor, first_frame: Tensor) -> Tensor:
        """Latents, the mask of what is kept, the condition's latents: [B, F, 36, h, w]."""
        config = self.module.config
        condition, _ = unpacked(first_frame.to(latents.dtype), latents.shape[1:], config.image_dim)
        mask = kept_mask(latents, config.in_channels - 2 * config.out_channels)
        return torch.cat([latents, mask, condition], dim=2)

    def rotary(
        self, latent_shape: Sequence[int], device: torch.device, first: int = 0
    ) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines [1, tokens, 1, head] as the transformer makes them; it knows no time before 0."""
        if first:
            raise UnsupportedBackbone(
                "Wan's positions begin at time 0: a reference before the target has none. Use CogVideoX."
            )
        frames, channels, height, width = latent_shape
        cosines, sines = self.module.rope(torch.empty(1, channels, frames, height, width, device=device))
        return cosines, sines

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of one sample's training step; see `cost.training_flops`."""
        return cost.training_flops(self.module.config, latent_shape, checkpointing, self.image_tokens)

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """See `cost.kept_values`."""
        return cost.kept_values(self.module.config, latent_shape, checkpointing)

    def tokens(self, latent_shape: Sequence[int]) -> int:
        """Video tokens of one sample: text and image stand beside the blocks, in their cross-attention."""
        return cost.video_tokens(self.module.config, latent_shape)
