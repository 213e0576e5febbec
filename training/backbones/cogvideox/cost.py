"""What CogVideoX's transformer costs, from its configuration alone: floating-point operations, values kept.

A multiplication and an addition are two operations. Counted are linears, convolutions and attention; what is
done to each element alone (norms, rotary positions, GELU) is bound by memory, not by arithmetic. The backward
pass of attention counts as twice its forward pass: that flash attention computes the scores again is its own
choice, as checkpointing is ours, and no work of the model.
"""

from collections.abc import Mapping, Sequence
from math import ceil

from training.backbones.base import Checkpointing

# Tensors of tokens × width that autograd keeps of one block with frozen weights: the inputs of the two norms
# and the normalised ones that the adapters read (4), queries and keys before and after their norm, values and
# the attention's output (6), the input of GELU (4).
KEPT_PER_BLOCK = 14
# What a block has besides while it runs: the inner activations of its feed-forward, forward and backward.
WORKING_PER_BLOCK = 8


def forward_flops(config: Mapping, latent_shape: Sequence[int], text_tokens: int) -> float:
    """A forward pass of one sample with latents [F, C, h, w] through a CogVideoX transformer of `config`."""
    return _ends(config, latent_shape, text_tokens) + config["num_layers"] * _block(
        config, latent_shape, text_tokens
    )


def training_flops(
    config: Mapping, latent_shape: Sequence[int], checkpointing: Checkpointing = "none"
) -> float:
    """Forward, backward and recomputation of one sample through a frozen transformer with adapters inside.

    The frozen linears pass gradients on and get none themselves: their backward pass costs what their forward
    pass costs. Nothing before the adapters of the first block needs a gradient. The adapters themselves and
    what predicts them are counted by their method.

    Args:
        config: of the transformer (`TRANSFORMER_5B_I2V`, or `transformer.config`).
        latent_shape: [F, C, h, w] of one sample.
        checkpointing: `none`, `full`, or n: blocks 0, n, 2n, … are computed again. Model FLOPs utilisation is
            defined on `none`, whatever was recomputed; hardware utilisation on what was done.
    """
    blocks, width, text = config["num_layers"], _width(config), config["max_text_seq_length"]
    video = _tokens(config, latent_shape)
    attention = 4 * (video + text) ** 2 * width
    modulation = 2 * 2 * config["time_embed_dim"] * 6 * width
    linears = _block(config, latent_shape, text) - attention - modulation
    first = 3 * 2 * (video + text) * width**2  # its queries, keys and values read what no gradient flows to
    proj_out = 2 * video * width * config["patch_size"] ** 2 * config["out_channels"]
    backward = blocks * (linears + 2 * attention) - first + proj_out
    again = _recomputed(config, checkpointing) * _block(config, latent_shape, text)
    return float(forward_flops(config, latent_shape, text) + backward + again)


def kept_values(config: Mapping, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
    """Values kept for one sample's backward pass through the blocks, at their peak."""
    recomputed = _recomputed(config, checkpointing)
    kept = (config["num_layers"] - recomputed) * KEPT_PER_BLOCK + recomputed
    working = WORKING_PER_BLOCK + (KEPT_PER_BLOCK if recomputed else 0)
    return all_tokens(config, latent_shape) * _width(config) * (kept + working)


def all_tokens(config: Mapping, latent_shape: Sequence[int]) -> int:
    """Video and text tokens of one sample."""
    return _tokens(config, latent_shape) + config["max_text_seq_length"]


def _recomputed(config: Mapping, checkpointing: Checkpointing) -> int:
    """How many blocks are computed again."""
    if checkpointing == "none":
        return 0
    return config["num_layers"] if checkpointing == "full" else ceil(config["num_layers"] / checkpointing)


def _width(config: Mapping) -> int:
    return config["num_attention_heads"] * config["attention_head_dim"]


def _tokens(config: Mapping, latent_shape: Sequence[int]) -> int:
    """Video tokens of one sample."""
    frames, _, height, width = latent_shape
    return frames * (height // config["patch_size"]) * (width // config["patch_size"])


def _block(config: Mapping, latent_shape: Sequence[int], text_tokens: int) -> int:
    """One block, forward: four projections and a 4× feed-forward, attention, two modulations of norms."""
    tokens, width = _tokens(config, latent_shape) + text_tokens, _width(config)
    linears = 2 * tokens * (4 + 8) * width**2
    attention = 4 * tokens**2 * width
    modulation = 2 * 2 * config["time_embed_dim"] * 6 * width
    return linears + attention + modulation


def _ends(config: Mapping, latent_shape: Sequence[int], text_tokens: int) -> int:
    """Embeddings of patches, text and time before the blocks, norm and projection after them."""
    video, width, time = _tokens(config, latent_shape), _width(config), config["time_embed_dim"]
    pixels = config["patch_size"] ** 2
    embeddings = video * config["in_channels"] * pixels + text_tokens * config["text_embed_dim"]
    last = video * pixels * config["out_channels"] + time * 2
    return 2 * width * (embeddings + last) + 2 * (width * time + time**2)
