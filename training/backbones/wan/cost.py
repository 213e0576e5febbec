"""What Wan's transformer costs, from its configuration alone; counted as `cogvideox/cost.py` counts."""

from collections.abc import Mapping, Sequence
from math import ceil

from training.backbones.base import Checkpointing
from training.backbones.wan.conditioning import TEXT_TOKENS

IMAGE_TOKENS = 257
# Tensors of tokens × width that autograd keeps of one block with frozen weights, and what a block has besides
# while it runs.
KEPT_PER_BLOCK = 20
WORKING_PER_BLOCK = 8


def forward_flops(config: Mapping, latent_shape: Sequence[int], image_tokens: int = IMAGE_TOKENS) -> float:
    """A forward pass of one sample with latents [F, C, h, w] through a Wan transformer of `config`."""
    block = _block(config, latent_shape, image_tokens)
    return float(_ends(config, latent_shape, image_tokens) + config["num_layers"] * block)


def training_flops(
    config: Mapping,
    latent_shape: Sequence[int],
    checkpointing: Checkpointing = "none",
    image_tokens: int = IMAGE_TOKENS,
) -> float:
    """Forward, backward and recomputation of one sample through a frozen transformer with adapters inside.

    Gradients flow through what the video tokens pass: not through what makes keys and values of text and
    image, nor through what reads the input of the first block.
    """
    video, width = video_tokens(config, latent_shape), _width(config)
    linears = 2 * video * (4 + 2) * width**2 + 4 * video * width * config["ffn_dim"]
    own, across = 4 * video**2 * width, 4 * video * (TEXT_TOKENS + image_tokens) * width
    backward = config["num_layers"] * (linears + 2 * own + across) - 3 * 2 * video * width**2
    backward += _last(config, latent_shape)
    again = _recomputed(config, checkpointing) * _block(config, latent_shape, image_tokens)
    return forward_flops(config, latent_shape, image_tokens) + backward + again


def kept_values(config: Mapping, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
    """Values kept for one sample's backward pass through the blocks, at their peak."""
    recomputed = _recomputed(config, checkpointing)
    kept = (config["num_layers"] - recomputed) * KEPT_PER_BLOCK + recomputed
    working = WORKING_PER_BLOCK + (KEPT_PER_BLOCK if recomputed else 0)
    return video_tokens(config, latent_shape) * _width(config) * (kept + working)


def video_tokens(config: Mapping, latent_shape: Sequence[int]) -> int:
    """Video tokens of one sample."""
    frames, _, height, width = latent_shape
    patch = config["patch_size"]
    return (frames // patch[0]) * (height // patch[1]) * (width // patch[2])


def _recomputed(config: Mapping, checkpointing: Checkpointing) -> int:
    if checkpointing == "none":
        return 0
    return config["num_layers"] if checkpointing == "full" else ceil(config["num_layers"] / checkpointing)


def _width(config: Mapping) -> int:
    return config["num_attention_heads"] * config["attention_head_dim"]


def _block(config: Mapping, latent_shape: Sequence[int], image_tokens: int) -> int:
    """One block, forward: two attentions, the second to text and image, and a feed-forward."""
    video, width, told = video_tokens(config, latent_shape), _width(config), TEXT_TOKENS + image_tokens
    linears = 2 * video * (4 + 2) * width**2 + 2 * told * 2 * width**2 + 4 * video * width * config["ffn_dim"]
    return linears + 4 * video * (video + told) * width


def _last(config: Mapping, latent_shape: Sequence[int]) -> int:
    """The projection after the blocks."""
    pixels = config["patch_size"][0] * config["patch_size"][1] * config["patch_size"][2]
    return 2 * video_tokens(config, latent_shape) * _width(config) * pixels * config["out_channels"]


def _ends(config: Mapping, latent_shape: Sequence[int], image_tokens: int) -> int:
    """Embeddings of patches, time, text and image before the blocks, and the projection after them."""
    width, image = _width(config), config["image_dim"]
    pixels = config["patch_size"][0] * config["patch_size"][1] * config["patch_size"][2]
    patches = video_tokens(config, latent_shape) * config["in_channels"] * pixels * width
    time = config["freq_dim"] * width + width**2 + 6 * width**2
    text = TEXT_TOKENS * (config["text_dim"] * width + width**2)
    shown = image_tokens * (image**2 + image * width)
    return 2 * (patches + time + text + shown) + _last(config, latent_shape)
