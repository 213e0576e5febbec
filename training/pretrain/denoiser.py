"""Training a small DiT and its text encoder: CogVideoX's own v-loss, everything trainable, no reference."""

from collections.abc import Sequence

import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from torch import Tensor, nn

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.patches import project_patches
from training.batch import TrainingBatch
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
    """The DiT and the text encoder of a pipeline, and the loss of both.

    `timestep_shift` draws more of the timesteps near noise: there it is decided what a clip will show.
    """

    def __init__(
        self,
        pipeline: CogVideoXImageToVideoPipeline,
        max_text_tokens: int,
        timestep_shift: float = 1.0,
        precision: Precision = "bfloat16",
    ) -> None:
        super().__init__()
        self.precision: Precision = precision
        self.timestep_shift = timestep_shift
        self.transformer = project_patches(pipeline.transformer)
        self.text_encoder = pipeline.text_encoder
        self.tokenizer = pipeline.tokenizer
        self.max_text_tokens = max_text_tokens
        self.diffusion = Diffusion(pipeline.scheduler.config)

    def loss(self, clips: TrainingBatch, captions: Sequence[str]) -> Tensor:
        """Mean v-loss of clips under these captions; noise and timesteps come from the batch's seeds."""
        device = self.transformer.device
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.max_text_tokens,
            truncation=True,
            return_tensors="pt",
        )
        noisy, timesteps, target = self.diffusion.corrupt(
            clips.target_latents, clips.sample_seeds, self.timestep_shift
        )
        with computing(device, self.precision):
            text = self.text_encoder(tokens.input_ids.to(device))[0]
            predicted = predict_velocity(
                self.transformer,
                noisy.to(device),
                clips.first_frame_latents.to(device),
                text,
                timesteps.to(device),
            )
        return self.diffusion.losses(predicted, target.to(device), timesteps.to(device)).mean()
