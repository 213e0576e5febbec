"""What a frozen video model is to everything else: its protocols, and the values that cross them.

A family (CogVideoX) is one folder beside this file. Methods, the loop, evaluation and generation know what
stands here and nothing of a family; `registry.py` is the one file that names families.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.backbones.geometry import SampleGeometry
from training.backbones.settings import BackboneSettings

# Which blocks forget their activations and compute them again: none, all, or every n-th.
Checkpointing = Literal["none", "full"] | int


@dataclass(frozen=True)
class Scene:
    """What the model is told of each sample.

    Attributes:
        first_frame: what its family encodes of it, [B, …]: of a CogVideoX its latents [B, C, h, w], of a Wan
            the latents of a video that begins with it and CLIP's state, as one [B, n].
        text: of its caption [B, T, D].
        negatives: the first so many samples are told a negative prompt in the place of every caption.
        kept: what of the video shown beside the first frame is preserved, [B, F, ratio, h, w], 1 where it is;
            None: the first frame alone. Of a Wan only.
    """

    first_frame: Tensor
    text: Tensor
    negatives: int = 0
    kept: Tensor | None = None


# Noisy latents [B, F, C, h, w], timesteps [B] and their scenes → what the objective says is predicted, alike.
Velocity = Callable[[Tensor, Tensor, Scene], Tensor]


class Objective(Protocol):
    """What the model was trained to predict: the corruption of clean latents and the loss against it."""

    def corrupt(
        self, latents: Tensor, seeds: Tensor, timestep_shift: float = 1.0, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clean latents [B, F, C, h, w], each noised by its own seed → noisy, timesteps [B], target.

        `noise` is what `randomness.noise_of` draws for the seeds, where it has been drawn before.
        """

    def losses(self, predicted: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """The unweighted loss of each sample, fp32 [B]."""

    def weights(self, timesteps: Tensor, min_snr_gamma: float | None = None) -> Tensor:
        """The weight of each sample's loss, fp32 [B]; 1 without `min_snr_gamma`."""

    def weight_near_noise(self, min_snr_gamma: float) -> float:
        """The share of the loss's weight that min-SNR weighting leaves to the last tenth of the timesteps."""


class DiT(Protocol):
    """The frozen transformer with all that a method needs to denoise with it, whatever its family."""

    @property
    def family(self) -> str:
        """The name of its family: a method says which ones it takes."""

    @property
    def module(self) -> nn.Module:
        """The transformer."""

    @property
    def blocks_name(self) -> str:
        """The path of its list of blocks."""

    @property
    def objective(self) -> Objective:
        """What it predicts."""

    @property
    def latent_channels(self) -> int:
        """C of its latents."""

    @property
    def text_shape(self) -> tuple[int, int]:
        """[T, D] of a sample's text embeddings."""

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks, in order."""

    def velocity(self, noisy: Tensor, timesteps: Tensor, scene: Scene) -> Tensor:
        """A `Velocity`: the transformer's output, in its own dtype."""

    def first_frame_of(self, latents: Tensor) -> Tensor:
        """What stands for a `Scene`'s first frames [B, …] where only the clips' latents [B, F, C, h, w] are
        known."""

    def input_of(self, latents: Tensor, first_frame: Tensor) -> Tensor:
        """What the patch embedding takes, [B, F, channels, h, w]: latents [B, F, C, h, w], and beside them
        on the channels those of the first frame [B, C, h, w]."""

    def rotary(
        self, latent_shape: Sequence[int], device: torch.device, first: int = 0
    ) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines [tokens, head] of latents [F, C, h, w] whose first frame stands at time `first`,
        which may be negative; None where it has no rotary positions."""

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of one sample's training step through the frozen model; latent_shape is [F, C, h, w].

        Forward and backward with adapters inside, which are not counted, and recomputation.
        """

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that one sample's backward pass needs of the blocks, at their peak."""

    def tokens(self, latent_shape: Sequence[int]) -> int:
        """Tokens of one sample inside the blocks, text included."""


class Sampler(Protocol):
    """One denoising run: a schedule of timesteps and the step from each to the next."""

    @property
    def timesteps(self) -> Sequence[Tensor]:
        """Those that were chosen, the first one to the last."""

    def begin(self, noise: Tensor, steps: int) -> Tensor:
        """Choose the timesteps; standard normal noise → the latents of the first one."""

    def scaled(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """The latents as the model takes them at this timestep."""

    def step(
        self, velocity: Tensor, timestep: Tensor, latents: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """The latents of the timestep after this one."""

    def clean(self, velocity: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """What the velocity says of the clean latents, seen from those of this timestep."""

    def dynamic(self, guidance: float, timestep: Tensor) -> float:
        """Prompt guidance at this timestep where it is asked to change along the way."""


class Backbone(Protocol):
    """A model's parts from one folder of weights. A part that was not asked for says so when it is used."""

    @property
    def settings(self) -> BackboneSettings:
        """Which backbone, at which geometry and precision."""

    @property
    def folder(self) -> Path:
        """Where its weights lie."""

    @property
    def geometry(self) -> SampleGeometry:
        """The geometry of its samples, in pixels."""

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[F, C, h, w] of a sample's latents."""

    @property
    def encoder_id(self) -> str:
        """A digest of what decides stored features: VAE, text encoder, geometry, precision."""

    @property
    def transformer_id(self) -> str:
        """A digest of the frozen transformer and its schedule: what a trained model belongs to."""

    @property
    def dit(self) -> DiT:
        """The transformer."""

    def meta_dit(self) -> DiT:
        """The same without storage: every name, shape and count, no weight. Needs no part loaded."""

    def check_weights(self, parts: Collection[str]) -> None:
        """Are the weights of the parts whole, and those of their configuration? Reads headers; raises
        WeightsUnreachable."""

    def sampler(self, name: str | None = None, shift: float | None = None) -> Sampler:
        """A fresh sampler; None: the one that the backbone's configuration names, and its own shift of the
        timesteps towards noise (TrainingError where the family has none)."""

    def encode_video(self, pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Frames [n, H, W, 3] → posterior mean and std, scaled, [F, C, h, w]."""

    def encode_first_frame(self, pixels: np.ndarray | Tensor, variants: int = 0, seed: int = 0) -> Tensor:
        """One frame [H, W, 3] → [1 + variants, …], what `Scene` has; all but the first noised as in
        training."""

    def encode_shown(self, pixels: np.ndarray | Tensor, pictured: np.ndarray | Tensor) -> Tensor:
        """A video [n, H, W, 3] that is shown whole in the place of a first frame, and the frame [H, W, 3]
        that stands for it as a picture: what `Scene` has beside `kept`, [n']. UnsupportedBackbone where the
        family has no such input."""

    def draw_first_frame(self, pixels: np.ndarray | Tensor, generator: torch.Generator) -> Tensor:
        """One frame [H, W, 3] → the same of one, drawn from the posterior as generation draws it."""

    def draw_noise(self, generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Standard normal noise [1, F, C, h, w], drawn in the order in which the family's pipeline draws."""

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Captions → embeddings [n, T, D]; what `unread` says of each is cut off."""

    def unread(self, caption: str) -> str:
        """The end of a caption beyond the longest text that is read; "" where all of it is."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] → uint8 frames [n, H, W, 3] on the CPU."""
