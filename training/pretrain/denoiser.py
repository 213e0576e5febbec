"""Training a small DiT and its text encoder: the family's own loss, everything trainable, no reference."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.pretrain.precision import Precision, computing


class Process(Protocol):
    """How latents become noise, and what is predicted of that."""

    def timesteps_at(self, share: Tensor, shift: float = 1.0) -> Tensor: ...

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...

    def losses(self, predicted: Tensor, target: Tensor, timesteps: Tensor) -> Tensor: ...


class Denoiser(nn.Module, ABC):
    """What a family's DiT and its encoders are trained as. A family says `blocks_name` and `predict`."""

    blocks_name: str
    transformer: nn.Module
    text_encoder: PreTrainedModel

    def __init__(
        self,
        process: Process,
        tokenizer: PreTrainedTokenizerBase,
        max_text_tokens: int,
        precision: Precision = "bfloat16",
    ) -> None:
        super().__init__()
        self.process, self.tokenizer = process, tokenizer
        self.max_text_tokens = max_text_tokens
        self.precision: Precision = precision

    @abstractmethod
    def predict(
        self, noisy: Tensor, first_frames: Tensor, tokens: Tensor, timesteps: Tensor, images: Tensor | None
    ) -> Tensor:
        """The velocity [B, F, C, h, w] of noisy latents at timesteps [B]; see `loss`."""

    def images(self, frames: Sequence[np.ndarray]) -> Tensor | None:
        """Frames uint8 [H, W, 3] as the image encoder takes them, [n, 3, H', W']; None: there is none."""
        return None

    @property
    def blocks(self) -> nn.ModuleList:
        found: nn.ModuleList = self.transformer.get_submodule(self.blocks_name)
        return found

    def hidden_matrices(self) -> Iterator[str]:
        """Names of the blocks' own matrices."""
        for name, value in self.named_parameters():
            if value.ndim == 2 and f"transformer.{self.blocks_name}." in name and ".norm" not in name:
                yield name

    def word_table(self) -> str:
        """Name of the words' vectors."""
        table = self.text_encoder.get_input_embeddings().weight
        return next(name for name, value in self.named_parameters() if value is table)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Captions as the text encoder takes them, int64 [n, T]."""
        found: Tensor = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.max_text_tokens,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return found

    def loss(
        self,
        latents: Tensor,
        first_frames: Tensor,
        tokens: Tensor,
        generator: torch.Generator,
        timestep_shift: float = 1.0,
        images: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of clean latents [B, F, C, h, w] and first frames (`EncodedClips.draw`), texts [B, T].

        `generator`, of their device, draws noise and timesteps. A `timestep_shift` above 1 draws more of them
        near noise: there it is decided what a clip will show; grain is what is learned near the clean end.
        """
        device = latents.device
        noise = torch.randn(latents.shape, generator=generator, device=device)
        share = torch.rand(len(latents), generator=generator, device=device, dtype=torch.float64)
        timesteps = self.process.timesteps_at(share, timestep_shift)
        noisy = self.process.add_noise(latents, noise, timesteps)
        with computing(device, self.precision):
            predicted = self.predict(noisy, first_frames, tokens, timesteps, images)
        target = self.process.velocity(latents, noise, timesteps)
        return self.process.losses(predicted, target, timesteps).mean()
