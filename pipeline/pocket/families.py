"""What the training of a pocket backbone does otherwise in each family."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from diffusers import CogVideoXImageToVideoPipeline, WanImageToVideoPipeline
from torch import Tensor

from pipeline.pocket.renders import Renders
from training.backbones.base import DiT
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.cogvideox.small import BackboneSizes
from training.backbones.cogvideox.small import small_pipeline as small_cogvideox
from training.backbones.geometry import SampleGeometry
from training.backbones.wan.backbone import WanBackbone
from training.backbones.wan.conditioning import TEXT_TOKENS
from training.backbones.wan.pixels import image_state
from training.backbones.wan.small import WanSizes
from training.backbones.wan.small import small_pipeline as small_wan
from training.pretrain.cogvideox import denoiser as cogvideox
from training.pretrain.cogvideox import encoded as cogvideox_encoded
from training.pretrain.cogvideox import vae as cogvideox_vae
from training.pretrain.cogvideox.processor import PlainAttention
from training.pretrain.denoiser import Denoiser
from training.pretrain.encoded import Encode
from training.pretrain.precision import Precision
from training.pretrain.vae import VAE
from training.pretrain.wan import denoiser as wan
from training.pretrain.wan import encoded as wan_encoded
from training.pretrain.wan import vae as wan_vae
from training.pretrain.wan.dit import ShortTextDiT
from training.pretrain.wan.processor import ShortText

Pipeline = CogVideoXImageToVideoPipeline | WanImageToVideoPipeline
PocketBackbone = CogVideoXBackbone | WanBackbone

POCKET_GEOMETRY = SampleGeometry(num_frames=49, height=64, width=96)
POCKET_TEXT_TOKENS = 32
POCKET_SIZES = BackboneSizes(
    # 4× in space where CogVideoX has 8×, in patches twice as large: as many tokens, and a VAE that learns in
    # an hour on a CPU.
    vae_channels=(16, 32, 64),
    latent_channels=8,
    patch=4,
    layers=6,
    heads=4,
    head_dim=48,
    time_width=128,
    text_width=32,
)
WAN_SIZES = WanSizes(
    # 8× in space and patches of 2 as Wan has, and as many values as the other's latents. The first halving is
    # one into patches of pixels: convolutions of full pictures are what a CPU is slow at.
    vae_width=32,
    vae_patch=2,
    vae_growth=(1, 2, 3),
    latent_channels=32,
    layers=6,
    heads=4,
    head_dim=48,
    feed_forward=4,
    time_width=64,
    text_width=32,
    image_width=64,
)


@dataclass(frozen=True)
class Stage:
    """Of a VAE's training.

    Attributes:
        until: share of the steps.
        share: a step shows the batch divided by this.
        frames: of each clip, 4k + 1.
        quarters: of the picture, or whole ones.
    """

    until: float
    share: int
    frames: int
    quarters: bool


@dataclass(frozen=True)
class Family:
    """One kind of backbone.

    Attributes:
        name: of `backbone.family`.
        pipeline: of a seed and of words that are tokens of their own: random weights of the pocket's sizes.
        stages: of the VAE's training.
        start_vae: gives a fresh VAE initial values from which it learns sooner.
        quick: a context in which the VAE computes the same in less time.
        scale: sets from clips how latents are scaled, and says it for pocket.json.
        encode: clips for the DiT.
        denoiser: of a pipeline, number of text tokens and precision; about to be trained.
        dit: a copy of a backbone's, for a method to adapt: the same velocities in less time on a CPU.
        first_frames: of a backbone, what `encode` calls "first" and the clips: what a `Scene` has, [n, …].
        patch: of a hypernetwork's tokens, as much of the picture in each family.
    """

    name: str
    pipeline: Callable[[int, Sequence[str]], Pipeline]
    stages: tuple[Stage, ...]
    start_vae: Callable[[VAE], None]
    quick: Callable[[VAE], AbstractContextManager]
    scale: Callable[[VAE, Iterable[Tensor], Precision], dict]
    encode: Encode
    denoiser: Callable[[Pipeline, int, Precision], Denoiser]
    dit: Callable[[PocketBackbone], DiT]
    first_frames: Callable[[PocketBackbone, Tensor, Renders], Tensor]
    patch: tuple[int, int, int]


def _cogvideox_denoiser(pipeline: Pipeline, max_text_tokens: int, precision: Precision) -> Denoiser:
    denoiser = cogvideox.CogVideoXDenoiser(pipeline, max_text_tokens, precision)
    cogvideox.start_silent(denoiser.transformer)
    denoiser.transformer.set_attn_processor(PlainAttention())
    return denoiser


def _wan_denoiser(pipeline: Pipeline, max_text_tokens: int, precision: Precision) -> Denoiser:
    denoiser = wan.WanDenoiser(pipeline, max_text_tokens, precision)
    wan.start_silent(denoiser.transformer)
    processor = ShortText(denoiser.image_tokens, TEXT_TOKENS - max_text_tokens)
    denoiser.transformer.set_attn_processor(processor)
    return denoiser


def _cogvideox_dit(backbone: CogVideoXBackbone) -> DiT:
    dit = copy.deepcopy(backbone.dit)
    dit.module.set_attn_processor(PlainAttention())
    return dit


def _wan_first_frames(backbone: WanBackbone, first: Tensor, renders: Renders) -> Tensor:
    """Beside the latents CLIP's states, as `conditioning.packed` lays them."""
    _, image, processor = backbone.part("vae")
    frames = (renders.signed([place])[0, :, 0] for place in range(len(renders)))
    states = torch.stack([image_state(image, processor, frame).flatten() for frame in frames])
    return torch.cat([first.flatten(1), states.to(first)], dim=1)


COGVIDEOX = Family(
    name="cogvideox",
    pipeline=lambda seed, words: small_cogvideox(
        seed, POCKET_GEOMETRY, POCKET_TEXT_TOKENS, POCKET_SIZES, words
    ),
    # What a VAE learns from is how many scenes a step shows, so it begins with single frames, goes on to nine
    # at a time, the least that its chunks allow, both of quarters of the picture, and ends with whole ones.
    stages=(Stage(0.6, 1, 1, True), Stage(0.85, 8, 9, True), Stage(1.0, 16, 9, False)),
    start_vae=cogvideox_vae.start_plain,
    quick=lambda vae: nullcontext(),
    scale=lambda *given: {"scaling_factor": cogvideox_vae.scale_latents(*given)},
    encode=cogvideox_encoded.encode,
    denoiser=_cogvideox_denoiser,
    dit=_cogvideox_dit,
    first_frames=lambda backbone, first, renders: first,
    patch=(4, 4, 4),
)
WAN = Family(
    name="wan",
    pipeline=lambda seed, words: small_wan(seed, WAN_SIZES, words),
    stages=(Stage(0.5, 1, 1, True), Stage(0.85, 8, 9, True), Stage(1.0, 32, 17, False)),
    start_vae=wan_vae.start_plain,
    quick=wan_vae.quick,
    scale=lambda *given: dict(
        zip(("latents_mean", "latents_std"), wan_vae.normalise_latents(*given), strict=True)
    ),
    encode=wan_encoded.encode,
    denoiser=_wan_denoiser,
    dit=ShortTextDiT,
    first_frames=_wan_first_frames,
    patch=(4, 2, 2),
)
FAMILIES = {family.name: family for family in (COGVIDEOX, WAN)}
