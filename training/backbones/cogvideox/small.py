"""Small backbones of the real classes, in the hub's layout on disk.

With random weights one shows that everything runs; what it generates is noise. `training.pretrain` trains
one.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, TRANSFORMER_5B_I2V, VAE_5B_I2V
from training.backbones.geometry import SampleGeometry
from training.backbones.small_text import WORDS, quiet_transformers, word_tokenizer
from training.randomness import initial_values

TINY_GEOMETRY = SampleGeometry(num_frames=49, height=64, width=96)
TINY_TEXT_TOKENS = 226
# Raised when the recipe changes, so that weights of an older one in the cache are not taken for these.
RECIPE = 3


@dataclass(frozen=True)
class BackboneSizes:
    """What makes a small backbone small; everything else is CogVideoX-5B-I2V's own configuration."""

    vae_channels: tuple[int, ...] = (8, 16, 32, 32)
    latent_channels: int = 16
    patch: int = 2
    layers: int = 4
    heads: int = 4
    head_dim: int = 32
    time_width: int = 64
    text_width: int = 32


def write_tiny_backbone(
    folder: Path | str,
    seed: int = 0,
    geometry: SampleGeometry = TINY_GEOMETRY,
    max_text_tokens: int = TINY_TEXT_TOKENS,
) -> Path:
    """Write a CogVideoX image-to-video pipeline with random weights drawn from `seed`; return `folder`.

    VAE: 16 latent channels, 4× in time, 8× in space, block channels 8, 16, 32, 32, its latents scaled to unit
    variance. DiT: 4 layers of width 128. T5: width 32. `folder` appears complete or not at all, also when
    several processes write it at once.
    """
    folder = Path(folder)
    if (folder / "model_index.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with quiet_transformers():
            pipeline = small_pipeline(seed, geometry, max_text_tokens)
            _calibrate(pipeline.vae, geometry)
            pipeline.save_pretrained(building)
        building.rename(folder)
    except OSError:
        # Another process was first: its folder is the same. Anything else is a real failure.
        if not (folder / "model_index.json").exists():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def small_pipeline(
    seed: int,
    geometry: SampleGeometry,
    max_text_tokens: int,
    sizes: BackboneSizes = BackboneSizes(),
    words: Iterable[str] = WORDS,
) -> CogVideoXImageToVideoPipeline:
    """An image-to-video pipeline of these sizes with random weights; `words` are tokens of their own."""
    tokenizer = word_tokenizer(words)
    text_config = T5Config(
        vocab_size=len(tokenizer),
        d_model=sizes.text_width,
        d_kv=sizes.text_width // 4,
        d_ff=2 * sizes.text_width,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    vae_config = VAE_5B_I2V | {
        "block_out_channels": sizes.vae_channels,
        "down_block_types": ("CogVideoXDownBlock3D",) * len(sizes.vae_channels),
        "up_block_types": ("CogVideoXUpBlock3D",) * len(sizes.vae_channels),
        "latent_channels": sizes.latent_channels,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "sample_height": geometry.height,
        "sample_width": geometry.width,
    }
    frames, _, height, width = geometry.latent_shape(vae_config)
    transformer_config = TRANSFORMER_5B_I2V | {
        "in_channels": 2 * sizes.latent_channels,
        "out_channels": sizes.latent_channels,
        "patch_size": sizes.patch,
        "num_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.head_dim,
        "time_embed_dim": sizes.time_width,
        "text_embed_dim": text_config.d_model,
        "max_text_seq_length": max_text_tokens,
        "sample_frames": (frames - 1) * vae_config["temporal_compression_ratio"] + 1,
        "sample_height": height,
        "sample_width": width,
    }
    with initial_values(seed):
        return CogVideoXImageToVideoPipeline(
            tokenizer=tokenizer,
            vae=AutoencoderKLCogVideoX(**vae_config).eval(),
            text_encoder=T5EncoderModel(text_config).eval(),
            # Its table of positions is computed in fp64.
            transformer=CogVideoXTransformer3DModel(**transformer_config).float().eval(),
            scheduler=CogVideoXDDIMScheduler.from_config(SCHEDULER_5B_I2V),
        )


@torch.no_grad()
def _calibrate(vae: AutoencoderKLCogVideoX, geometry: SampleGeometry) -> None:
    """Give the latents what a trained VAE gives them: a narrow posterior, unit variance after scaling."""
    out = vae.encoder.conv_out.conv
    channels = vae.config.latent_channels
    out.weight[channels:] = 0
    out.bias[channels:] = -10.0
    probe = torch.rand(1, 3, 5, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    probe = torch.nn.functional.interpolate(
        probe, size=(5, geometry.height, geometry.width), mode="trilinear"
    )
    mean = vae.encode(probe).latent_dist.mode()
    centre = mean.mean(dim=(0, 2, 3, 4))
    gain = 1 / (vae.config.scaling_factor * (mean - centre.view(1, -1, 1, 1, 1)).std())
    out.weight[:channels] *= gain
    out.bias[:channels] = (out.bias[:channels] - centre) * gain
