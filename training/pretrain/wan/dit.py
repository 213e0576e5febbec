"""Wan's DiT for a CPU: the same velocities in less time, where no text is long."""

from copy import deepcopy

from torch import Tensor

from training.backbones.base import Scene
from training.backbones.wan.backbone import WanBackbone
from training.backbones.wan.conditioning import TEXT_TOKENS, predict_flow
from training.backbones.wan.dit import WanDiT
from training.pretrain.wan.processor import ShortText


class ShortTextDiT(WanDiT):
    """A copy of a backbone's DiT for texts of exactly as many tokens as the backbone's settings say, whose
    padding up to 512 is given once (see `ShortText`)."""

    def __init__(self, backbone: WanBackbone) -> None:
        image_tokens, self._tokens = backbone.dit.image_tokens, backbone.settings.max_text_tokens
        super().__init__(deepcopy(backbone.transformer), backbone.scheduler_config, image_tokens)
        self.module.set_attn_processor(ShortText(image_tokens, TEXT_TOKENS - self._tokens))

    @property
    def text_shape(self) -> tuple[int, int]:
        return self._tokens, super().text_shape[1]

    def velocity(self, noisy: Tensor, timesteps: Tensor, scene: Scene) -> Tensor:
        """See `WanDiT.velocity`."""
        return predict_flow(self.module, noisy, scene, timesteps, self._tokens + 1)
