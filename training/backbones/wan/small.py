"""Small Wan backbones of the real classes with random weights, in the hub's layout on disk."""

import shutil
import tempfile
from pathlib import Path

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

# Raised when the recipe changes, so that weights of an older one in the cache are not taken for these.
RECIPE = 1


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


def small_pipeline(seed: int) -> WanImageToVideoPipeline:
    """An image-to-video pipeline of small models with random weights."""
    tokenizer = word_tokenizer(WORDS)
    text = UMT5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, use_cache=False
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        hidden_act="gelu",
    )
    sizes = {
        "num_attention_heads": 4,
        "attention_head_dim": 24,
        "text_dim": 32,
        "freq_dim": 32,
        "ffn_dim": 192,
        "num_layers": 4,
        "image_dim": 32,
        "added_kv_proj_dim": 96,
        "rope_max_seq_len": 64,
    }
    with initial_values(seed):
        return WanImageToVideoPipeline(
            tokenizer=tokenizer,
            text_encoder=UMT5EncoderModel(text).eval(),
            vae=AutoencoderKLWan(base_dim=8, num_res_blocks=1).eval(),
            image_encoder=CLIPVisionModel(vision).eval(),
            image_processor=CLIPImageProcessor(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            ),
            transformer=WanTransformer3DModel(**TRANSFORMER_14B_I2V | sizes).float().eval(),
            scheduler=UniPCMultistepScheduler.from_config(SCHEDULER_14B_I2V),
        )
