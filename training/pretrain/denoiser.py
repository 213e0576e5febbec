"""Training a small DiT and its text encoder: CogVideoX's own v-loss, everything trainable, no reference."""

from collections.abc import Sequence

import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from torch import Tensor, nn

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.patches import project_patches
from training.pretrain.precision import Precision, computing


@torch.no_grad()
def start_silent(transformer: CogVideoXTransformer3DModel) -> None:
    """adaLN-Zero (DiT, 2212.09748, sec. 3.2), which diffusers leaves to who trains: every block begins as the
    identity, and the output as zero."""
    heads = [layer for block in transformer.transformer_blocks for layer in (block.norm1, block.norm2)]
    for linear in (*(layer.linear for layer in heads), transformer.norm_out.linear, transformer.proj_out):
        linear.weight.zero_()
        linear.bias.zero_()


class Denoiser(nn.Module):
    """The DiT and the text encoder of a pipeline, and the loss of both."""

    def __init__(
        self, pipeline: CogVideoXImageToVideoPipeline, max_text_tokens: int, precision: Precision = "bfloat16"
    ) -> None:
        super().__init__()
        self.precision: Precision = precision
        self.transformer = project_patches(pipeline.transformer)
        self.text_encoder = pipeline.text_encoder
        self.tokenizer = pipeline.tokenizer
        self.max_text_tokens = max_text_tokens
        self.diffusion = Diffusion(pipeline.scheduler.config)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Captions as the text encoder takes them, int64 [n, T]."""
        return self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.max_text_tokens,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def loss(
        self,
        latents: Tensor,
        first_frames: Tensor,
        tokens: Tensor,
        generator: torch.Generator,
        timestep_shift: float = 1.0,
    ) -> Tensor:
        """Mean v-loss of clean latents [B, F, C, h, w] and first frames [B, C, h, w] under texts [B, T].

        `generator`, of their device, draws noise and timesteps. A `timestep_shift` above 1 draws more of them
        near noise: there it is decided what a clip will show; grain is what is learned near the clean end.
        """
        device = latents.device
        noise = torch.randn(latents.shape, generator=generator, device=device)
        share = torch.rand(len(latents), generator=generator, device=device, dtype=torch.float64)
        timesteps = self.diffusion.timesteps_at(share, timestep_shift)
        noisy = self.diffusion.add_noise(latents, noise, timesteps)
        with computing(device, self.precision):
            text = self.text_encoder(tokens)[0]
            predicted = predict_velocity(self.transformer, noisy, first_frames, text, timesteps)
        target = self.diffusion.velocity(latents, noise, timesteps)
        return self.diffusion.losses(predicted, target, timesteps).mean()
