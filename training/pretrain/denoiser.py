"""Training a small DiT and its text encoder: CogVideoX's own v-loss, everything trainable, no reference."""

import torch
from diffusers import CogVideoXImageToVideoPipeline
from torch import Tensor, nn

from training.batch import TrainingBatch
from training.conditioning import predict_velocity
from training.diffusion import Diffusion


class Denoiser(nn.Module):
    """The DiT and the text encoder of a pipeline, and the loss of both."""

    def __init__(self, pipeline: CogVideoXImageToVideoPipeline, max_text_tokens: int) -> None:
        super().__init__()
        self.transformer = pipeline.transformer
        self.text_encoder = pipeline.text_encoder
        self.tokenizer = pipeline.tokenizer
        self.max_text_tokens = max_text_tokens
        self.diffusion = Diffusion(pipeline.scheduler.config)

    def loss(self, batch: tuple[TrainingBatch, list[str]]) -> Tensor:
        """Mean v-loss of a batch of `EncodedClips`; its noise and timesteps come from the batch's seeds."""
        clips, captions = batch
        device = self.transformer.device
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            max_length=self.max_text_tokens,
            truncation=True,
            return_tensors="pt",
        )
        noisy, timesteps, target = self.diffusion.corrupt(clips.target_latents, clips.sample_seeds)
        with torch.autocast(device.type, torch.bfloat16):
            text = self.text_encoder(tokens.input_ids.to(device))[0]
            predicted = predict_velocity(
                self.transformer,
                noisy.to(device),
                clips.first_frame_latents.to(device),
                text,
                timesteps.to(device),
            )
        return self.diffusion.losses(predicted, target.to(device), timesteps.to(device)).mean()
