"""Small Wan backbones of the real classes with random weights, in the hub's layout on disk."""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
)

from training.backbones.geometry import SampleGeometry
from training.backbones.small_text import WORDS, quiet_transformers, word_tokenizer
from training.backbones.wan.published import SCHEDULER_14B_I2V, TRANSFORMER_14B_I2V
from training.randomness import initial_values

IMAGE_SIZE = 32
# Raised when the recipe changes, so that weights of an older one in the cache are not taken for these.
RECIPE = 1


@dataclass(frozen=True)
class WanSizes:
    """What makes a small backbone small; everything else is Wan 2.1 I2V's own configuration.

    Attributes:
        vae_patch: with 2 the VAE takes pixels in patches, as Wan 2.2's does, instead of its first halving.
        vae_growth: of its channels from one scale to the next, where it takes patches.
        feed_forward: width of the DiT's feed-forward layers in widths of the DiT.
    """

    vae_width: int = 8
    vae_patch: int = 1
    vae_growth: tuple[int, ...] = (1, 2, 3)
    latent_channels: int = 16
    layers: int = 4
    heads: int = 4
    head_dim: int = 24
    feed_forward: int = 2
    time_width: int = 32
    text_width: int = 32
    image_width: int = 32


def write_tiny_backbone(
    folder: Path | str, seed: int, geometry: SampleGeometry, max_text_tokens: int
) -> Path:
    """Write a Wan 2.1 image-to-video pipeline with random weights drawn from `seed`; return `folder`.

    DiT: 4 layers of width 96. VAE: 16 latent channels, 4× in time, 8× in space. UMT5 and CLIP: width 32. It
    fits any geometry and text. `folder` appears complete or not at all, also when several processes write it.
    """
    folder = Path(folder)
    if (folder / "model_index.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with quiet_transformers():
            small_pipeline(seed).save_pretrained(building)
        building.rename(folder)
    except OSError:
        # Another process was first: its folder is the same. Anything else is a real failure.
        if not (folder / "model_index.json").exists():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def small_pipeline(
    seed: int, sizes: WanSizes = WanSizes(), words: Iterable[str] = WORDS
) -> WanImageToVideoPipeline:
    """An image-to-video pipeline of these sizes with random weights; `words` are tokens of their own."""
    tokenizer = word_tokenizer(words)
    text = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=sizes.text_width,
        d_kv=sizes.text_width // 4,
        d_ff=2 * sizes.text_width,
        num_layers=2,
        num_heads=4,
        use_cache=False,
    )
    vision = CLIPVisionConfig(
        hidden_size=sizes.image_width,
        intermediate_size=2 * sizes.image_width,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=8,
        hidden_act="gelu",
    )
    vae: dict[str, Any] = {"base_dim": sizes.vae_width, "num_res_blocks": 1}
    if sizes.vae_patch > 1:
        pixels = 3 * sizes.vae_patch**2
        vae |= {"patch_size": sizes.vae_patch, "in_channels": pixels, "out_channels": pixels}
        vae |= {"dim_mult": list(sizes.vae_growth), "temperal_downsample": [True, True]}
    if sizes.latent_channels != 16:
        channels = sizes.latent_channels
        vae |= {"z_dim": channels, "latents_mean": [0.0] * channels, "latents_std": [1.0] * channels}
    width = sizes.heads * sizes.head_dim
    transformer = {
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.head_dim,
        "in_channels": 2 * sizes.latent_channels + 4,
        "out_channels": sizes.latent_channels,
        "text_dim": sizes.text_width,
        "freq_dim": sizes.time_width,
        "ffn_dim": sizes.feed_forward * width,
        "num_layers": sizes.layers,
        "image_dim": sizes.image_width,
        "added_kv_proj_dim": width,
        "rope_max_seq_len": 64,
    }
    with initial_values(seed):
        return WanImageToVideoPipeline(
            tokenizer=tokenizer,
            text_encoder=UMT5EncoderModel(text).eval(),
            vae=AutoencoderKLWan(**vae).eval(),
            image_encoder=CLIPVisionModel(vision).eval(),
            image_processor=CLIPImageProcessor(
                size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
            ),
            transformer=WanTransformer3DModel(**TRANSFORMER_14B_I2V | transformer).float().eval(),
            scheduler=UniPCMultistepScheduler.from_config(SCHEDULER_14B_I2V),
        )
