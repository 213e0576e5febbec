"""What the benchmark of a training step times: the transformer, its peers, and encoding inline."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.published import (
    SCHEDULER_5B_I2V,
    TRANSFORMER_5B_I2V,
    VAE_5B_I2V,
    meta_transformer,
)
from training.backbones.geometry import SampleGeometry
from training.batch import References, TrainingBatch
from training.methods.base import Loss
from training.methods.lightlora.layers import LightLoRALinear
from training.methods.registry import MethodSettings, parse_settings


@dataclass(frozen=True)
class Size:
    """Configurations of all parts, and what is adapted."""

    geometry: SampleGeometry
    text_tokens: int
    transformer: Mapping
    vae: Mapping
    text: Mapping
    settings: MethodSettings = field(default_factory=lambda: parse_settings({}))

    @cached_property
    def latents(self) -> tuple[int, int, int, int]:
        return self.geometry.latent_shape(self.vae)


T5_XXL = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}
FULL = Size(SampleGeometry(), 226, TRANSFORMER_5B_I2V, VAE_5B_I2V, T5_XXL)
TINY = Size(
    SampleGeometry(17, 32, 48),
    16,
    TRANSFORMER_5B_I2V
    | {
        "num_layers": 4,
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "time_embed_dim": 64,
        "text_embed_dim": 32,
        "max_text_seq_length": 16,
        "sample_frames": 17,
        "sample_height": 4,
        "sample_width": 6,
    },
    VAE_5B_I2V | {"block_out_channels": (8, 16, 32, 32), "layers_per_block": 1, "norm_num_groups": 4},
    T5_XXL | {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 128},
    # The real predictor would be larger than this transformer.
    parse_settings({"down_size": 12, "up_size": 8, "width": 32, "heads": 2, "layers": 2, "refinements": 2}),
)
SIZES = {"full": FULL, "tiny": TINY}


def random_transformer(size: Size, device: torch.device, dtype: torch.dtype) -> CogVideoXTransformer3DModel:
    """The transformer of a size with random weights, made on the device: nothing is read or copied."""
    return filled(meta_transformer(size.transformer), device, dtype).requires_grad_(False).eval()


def filled(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A module from the meta device with small random matrices, norms of one and biases of zero."""
    # Not diffusers' own `to`, which warns of casts.
    module = nn.Module.to(module, dtype).to_empty(device=device)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.ndim > 1:
                tensor.normal_(std=0.02)
            else:
                tensor.fill_(float(name.endswith("weight")))
    return module


def random_batch(size: Size, samples: int, device: torch.device, dtype: torch.dtype) -> TrainingBatch:
    """As a loader delivers it: on the device, in the transformer's dtype."""
    frames, channels, height, width = size.latents
    shape = (samples, *size.latents)
    batch = TrainingBatch(
        target_latents=torch.randn(shape),
        references=References(
            ("",) * samples,
            torch.randn(shape),
            torch.ones(samples, frames, height, width, dtype=torch.bool),
        ),
        first_frame_latents=torch.randn(samples, channels, height, width),
        text_embeddings=torch.randn(samples, size.text_tokens, size.transformer["text_embed_dim"]),
        sample_seeds=torch.arange(samples),
        pair_ids=[str(number) for number in range(samples)],
    )
    return batch.ready().to(device, dtype)


class LoRALinear(nn.Module):
    """A frozen linear with an ordinary rank-r residual, y = W x + (α/r) B A x, as PEFT computes it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.down = nn.Linear(base.in_features, rank, bias=False, **like)
        self.up = nn.Linear(rank, base.out_features, bias=False, **like)
        self.scale = 1.0  # α = r, the default of diffusers' training script
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x)) * self.scale


class PlainLoRA(nn.Module):
    """diffusers' LoRA training of the same linears: one adapter for all samples, no hypernetwork."""

    def __init__(self, transformer: CogVideoXTransformer3DModel, targets: tuple[str, ...], rank: int) -> None:
        super().__init__()
        self.transformer, self.diffusion = transformer, Diffusion(SCHEDULER_5B_I2V)
        for block in transformer.transformer_blocks:
            for target in targets:
                block.set_submodule(target, LoRALinear(block.get_submodule(target), rank))

    def forward(self, batch: TrainingBatch) -> Loss:
        return Loss(_loss(self.transformer, self.diffusion, batch, batch.first_frame_latents))


class Bare(nn.Module):
    """The frozen transformer alone, with a gradient through all its blocks: what any adapter pays.

    The gradient flows to the first frame's latents, as to an adapter of the first block.
    """

    def __init__(self, transformer: CogVideoXTransformer3DModel) -> None:
        super().__init__()
        self.transformer, self.diffusion = transformer, Diffusion(SCHEDULER_5B_I2V)
        self.stand_in = nn.Parameter(torch.zeros((), device=transformer.device, dtype=transformer.dtype))

    def forward(self, batch: TrainingBatch) -> Loss:
        first = batch.first_frame_latents + self.stand_in
        return Loss(_loss(self.transformer, self.diffusion, batch, first))


def _loss(
    transformer: CogVideoXTransformer3DModel, diffusion: Diffusion, batch: TrainingBatch, first: Tensor
) -> Tensor:
    noisy, timesteps, target = diffusion.corrupt(batch.target_latents, batch.sample_seeds, noise=batch.noise)
    predicted = predict_velocity(transformer, noisy, first, batch.text_embeddings, timesteps)
    return diffusion.losses(predicted, target, timesteps).mean()


def strip(transformer: CogVideoXTransformer3DModel) -> CogVideoXTransformer3DModel:
    """Put the frozen linears back where adapters stand."""
    for block in transformer.transformer_blocks:
        for name, module in list(block.named_modules()):
            if isinstance(module, LoRALinear | LightLoRALinear):
                block.set_submodule(name, module.base)
    return transformer


class InlineEncoders:
    """What the released loop computes in every step: VAE of target, reference and first frame, T5."""

    def __init__(
        self, size: Size, samples: int, device: torch.device, dtype: torch.dtype, text: bool
    ) -> None:
        geometry = size.geometry
        with torch.device(device):
            vae = AutoencoderKLCogVideoX.from_config(dict(size.vae))
            self.vae = nn.Module.to(vae, dtype).requires_grad_(False).eval()
            video = (samples, 3, geometry.num_frames, geometry.height, geometry.width)
            self.videos = [torch.rand(video, dtype=dtype) * 2 - 1 for _ in range(2)]
            self.tokens = torch.randint(2, size.text["vocab_size"], (samples, size.text_tokens))
        self.text = None
        if text:
            with torch.device("meta"):
                encoder = T5EncoderModel(T5Config(**size.text, is_encoder_decoder=False, use_cache=False))
            self.text = filled(encoder, device, dtype).requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, batch: TrainingBatch) -> TrainingBatch:
        """The batch with latents and embeddings computed now."""
        scale = self.vae.config.scaling_factor
        target, reference = (self._encode(video).sample() * scale for video in self.videos)
        first = self._encode(self.videos[0][:, :, :1]).sample() / scale
        embedded = batch.text_embeddings if self.text is None else self.text(self.tokens).last_hidden_state
        return replace(
            batch,
            target_latents=target.transpose(1, 2),
            references=replace(batch.references, latents=reference.transpose(1, 2)),
            first_frame_latents=first[:, :, 0],
            text_embeddings=embedded,
        )

    def _encode(self, pixels: Tensor) -> object:
        return self.vae.encode(pixels).latent_dist
