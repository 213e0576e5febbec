"""What the reference stream costs beside a frozen CogVideoX, from its configuration alone.

As for the DiT itself, linears and attention are counted, and what is done to each element alone is not.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from training.backbones.base import Checkpointing

# Tensors of tokens × width that autograd keeps of an expert: what it keeps of a frozen block, and the inputs
# of its linears. The last expert keeps what keys and values need.
KEPT_PER_EXPERT = 24
KEPT_OF_LAST = 8


class _Sizes(NamedTuple):
    """Tokens of the target and of the references, text included; width; width of the time's embedding."""

    target: int
    references: int
    width: int
    time: int


def extra_flops(
    config: Mapping,
    layers: Sequence[int],
    latent_shape: Sequence[int],
    references: int,
    checkpointing: Checkpointing = "none",
) -> float:
    """Operations of one sample's training step beyond those of the frozen DiT with adapters from block 0 on.

    Everything of the stream trains, so each linear costs twice in backward what it costs in forward. Through
    the frozen blocks before the first expert no gradient flows, and none of them is computed again.

    Args:
        config: of the transformer.
        layers: blocks with an expert, ascending.
        latent_shape: [F, C, h, w] of one sample.
        references: of a target.
        checkpointing: see `training.backbones.base.Checkpointing`.
    """
    sizes = _sizes(config, latent_shape, references)
    embedding, into_embedding = _embedding(config, latent_shape, references)
    total = 3 * embedding - into_embedding
    for layer in layers:
        linears, attention, modulation = _expert(sizes, last=layer == layers[-1])
        # The modulation of the text and video reads the time's embedding, which trains too.
        forward = linears + attention + modulation
        total += 3 * forward + (forward if _again(layer, checkpointing) else 0)
    linears, attention, modulation = _frozen(sizes)
    for layer in range(layers[0]):
        total -= linears + 2 * attention
        total -= linears + attention + modulation if _again(layer, checkpointing) else 0
    return float(total)


def extra_kept_values(
    config: Mapping,
    layers: Sequence[int],
    latent_shape: Sequence[int],
    references: int,
    checkpointing: Checkpointing,
) -> int:
    """Values kept of the reference stream for one sample's backward pass, at their peak."""
    sizes = _sizes(config, latent_shape, references)
    kept = 0
    for layer in layers:
        own = KEPT_OF_LAST if layer == layers[-1] else KEPT_PER_EXPERT
        kept += 1 if _again(layer, checkpointing) else own
    recomputes = any(_again(layer, checkpointing) for layer in layers)
    return sizes.references * sizes.width * (kept + (KEPT_PER_EXPERT if recomputes else 0))


def _again(layer: int, checkpointing: Checkpointing) -> bool:
    """Whether a block is computed again in the backward pass."""
    return checkpointing == "full" or (checkpointing != "none" and layer % checkpointing == 0)


def _sizes(config: Mapping, latent_shape: Sequence[int], references: int) -> _Sizes:
    frames, _, height, width = latent_shape
    patch = config["patch_size"]
    tokens = frames * (height // patch) * (width // patch) + config["max_text_seq_length"]
    wide = config["num_attention_heads"] * config["attention_head_dim"]
    return _Sizes(tokens, references * tokens, wide, config["time_embed_dim"])


def _frozen(sizes: _Sizes) -> tuple[int, int, int]:
    """Forward of one frozen block: its linears, attention and modulations."""
    linears = 2 * sizes.target * 12 * sizes.width**2
    return linears, 4 * sizes.target**2 * sizes.width, 2 * sizes.time * 6 * sizes.width * 2


def _expert(sizes: _Sizes, last: bool) -> tuple[int, int, int]:
    """Forward of one expert: its linears, what the attention has more, and the modulations of its norms."""
    both = sizes.target + sizes.references
    queries = sizes.target if last else both
    linears = 2 * sizes.references * (2 if last else 12) * sizes.width**2
    attention = 4 * (queries * both - sizes.target**2) * sizes.width
    modulation = 2 * sizes.time * 6 * sizes.width * (1 if last else 2)
    return linears, attention, modulation


def _embedding(config: Mapping, latent_shape: Sequence[int], references: int) -> tuple[int, int]:
    """Forward of what makes the stream's tokens, and the part of it whose inputs need no gradient."""
    sizes, text = _sizes(config, latent_shape, references), references * config["max_text_seq_length"]
    video = sizes.references - text
    tokens = video * config["in_channels"] * config["patch_size"] ** 2 + text * config["text_embed_dim"]
    inputs = 2 * sizes.width * (tokens + sizes.time)
    return inputs + 2 * sizes.time**2, inputs
