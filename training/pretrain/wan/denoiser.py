"""Training a small Wan I2V: the flow's loss, the image encoder trained along."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import WanImageToVideoPipeline, WanTransformer3DModel
from torch import Tensor

from training.backbones.wan.conditioning import kept_mask
from training.backbones.wan.flow import FlowMatching
from training.pretrain.denoiser import Denoiser
from training.pretrain.precision import Precision
from training.randomness import stream


@torch.no_grad()
def start_silent(transformer: WanTransformer3DModel, seed: int = 0) -> None:
    """adaLN-Zero (DiT, 2212.09748, sec. 3.2), which diffusers leaves to who trains: every block begins as the
    identity, and the output as zero.

    The text's padding, up to 512 tokens of zeros, begins nearly unseen: its key is what the bias makes it,
    and every query begins with a part that turns away from that. A token that says something drowns the small
    bias, since keys are normed.
    """
    embedder = transformer.condition_embedder
    silent = [embedder.time_proj, transformer.proj_out]
    for block in transformer.blocks:
        block.scale_shift_table[:, [2, 5]] = 0
        silent.append(block.attn2.to_out[0])
        away = torch.from_numpy(
            stream(seed, "wan padding").choice([-1.0, 1.0], block.attn2.to_q.out_features)
        )
        block.attn2.to_q.bias.copy_(away)
        block.attn2.to_k.bias.copy_(-0.05 * away)
        block.attn2.to_v.bias.zero_()
    for linear in silent:
        linear.weight.zero_()
        linear.bias.zero_()
    for linear in (embedder.text_embedder.linear_1, embedder.text_embedder.linear_2):
        linear.bias.zero_()


class WanDenoiser(Denoiser):
    """The DiT, the text encoder and what is used of the image encoder, and the loss of all."""

    blocks_name = "blocks"

    def __init__(
        self, pipeline: WanImageToVideoPipeline, max_text_tokens: int, precision: Precision = "bfloat16"
    ) -> None:
        flow = FlowMatching(pipeline.scheduler.config)
        super().__init__(flow, pipeline.tokenizer, max_text_tokens, precision)
        self.transformer = pipeline.transformer
        self.text_encoder = pipeline.text_encoder
        self.image_encoder = pipeline.image_encoder
        self.image_processor = pipeline.image_processor
        vision = self.image_encoder.config
        self.image_tokens = (vision.image_size // vision.patch_size) ** 2 + 1
        # The pipeline takes the state before the last layer.
        self.image_encoder.encoder.layers[-1].requires_grad_(False)
        self.image_encoder.post_layernorm.requires_grad_(False)

    def images(self, frames: Sequence[np.ndarray]) -> Tensor:
        """As CLIP's processor makes them of frames uint8 [H, W, 3]."""
        found: Tensor = self.image_processor(images=list(frames), return_tensors="pt")["pixel_values"]
        return found

    def predict(
        self, noisy: Tensor, first_frames: Tensor, tokens: Tensor, timesteps: Tensor, images: Tensor | None
    ) -> Tensor:
        """What `conditioning.predict_flow` computes, of a text whose padding is given once (`ShortText`)."""
        config = self.transformer.config
        known = tokens != self.tokenizer.pad_token_id
        text = self.text_encoder(tokens, known.long()).last_hidden_state * known[:, :, None]
        mask = kept_mask(noisy, config.in_channels - 2 * config.out_channels)
        flow: Tensor = self.transformer(
            torch.cat([noisy, mask, first_frames], dim=2).transpose(1, 2),
            timesteps,
            F.pad(text, (0, 0, 0, 1)),
            self.image_encoder(images, output_hidden_states=True).hidden_states[-2],
            return_dict=False,
        )[0]
        return flow.transpose(1, 2)
