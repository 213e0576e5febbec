"""Training a small CogVideoX-I2V: its v-loss."""

import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from torch import Tensor

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.patches import project_patches
from training.pretrain.denoiser import Denoiser
from training.pretrain.precision import Precision


@torch.no_grad()
def start_silent(transformer: CogVideoXTransformer3DModel) -> None:
    """adaLN-Zero (DiT, 2212.09748, sec. 3.2), which diffusers leaves to who trains: every block begins as the
    identity, and the output as zero."""
    heads = [layer for block in transformer.transformer_blocks for layer in (block.norm1, block.norm2)]
    for linear in (*(layer.linear for layer in heads), transformer.norm_out.linear, transformer.proj_out):
        linear.weight.zero_()
        linear.bias.zero_()


class CogVideoXDenoiser(Denoiser):
    """The DiT and the text encoder of a pipeline, and the loss of both."""

    blocks_name = "transformer_blocks"

    def __init__(
        self, pipeline: CogVideoXImageToVideoPipeline, max_text_tokens: int, precision: Precision = "bfloat16"
    ) -> None:
        diffusion = Diffusion(pipeline.scheduler.config)
        super().__init__(diffusion, pipeline.tokenizer, max_text_tokens, precision)
        self.transformer = project_patches(pipeline.transformer)
        self.text_encoder = pipeline.text_encoder

    def predict(
        self, noisy: Tensor, first_frames: Tensor, tokens: Tensor, timesteps: Tensor, images: Tensor | None
    ) -> Tensor:
        text = self.text_encoder(tokens)[0]
        return predict_velocity(self.transformer, noisy, first_frames, text, timesteps)
