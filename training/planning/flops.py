"""How many floating-point operations a training step takes, from the configurations alone.

A multiplication and an addition are two operations. Counted are linears, convolutions and attention; what is
done to each element alone (norms, rotary positions, GELU) is bound by memory, not by arithmetic. The backward
pass of attention counts as twice its forward pass: that flash attention computes the scores again is its own
choice, as checkpointing is ours, and no work of the model.
"""

from collections.abc import Mapping
from math import ceil, prod
from typing import Literal

from training.methods.video2lora.settings import Video2LoRASettings

Checkpointing = Literal["none", "full"] | int


def forward_flops(config: Mapping, latent_shape: tuple[int, int, int, int], text_tokens: int) -> float:
    """A forward pass of one sample with latents [F, C, h, w] through a CogVideoX transformer of `config`."""
    return _ends(config, latent_shape, text_tokens) + config["num_layers"] * _block(
        config, latent_shape, text_tokens
    )


def training_flops(
    config: Mapping,
    latent_shape: tuple[int, int, int, int],
    text_tokens: int,
    batch: int,
    checkpointing: Checkpointing = "none",
) -> float:
    """Forward, backward and recomputation of one step through a frozen transformer with adapters inside.

    The frozen linears pass gradients on and get none themselves: their backward pass costs what their forward
    pass costs. Nothing before the adapters of the first block needs a gradient. The adapters themselves and
    what predicts them are counted apart (`lightlora_flops`, `hypernetwork_flops`).

    Args:
        config: of the transformer (`TRANSFORMER_5B_I2V`, or `transformer.config`).
        latent_shape: [F, C, h, w] of one sample.
        batch: samples of the step, B.
        checkpointing: `none`, `full`, or n: blocks 0, n, 2n, … are computed again. Model FLOPs utilisation is
            defined on `none`, whatever was recomputed; hardware utilisation on what was done.
    """
    blocks, width = config["num_layers"], _width(config)
    video, text = _tokens(config, latent_shape), text_tokens
    attention = 4 * (video + text) ** 2 * width
    modulation = 2 * 2 * config["time_embed_dim"] * 6 * width
    linears = _block(config, latent_shape, text) - attention - modulation
    first = 3 * 2 * (video + text) * width**2  # its queries, keys and values read what no gradient flows to
    proj_out = 2 * video * width * config["patch_size"] ** 2 * config["out_channels"]
    backward = blocks * (linears + 2 * attention) - first + proj_out
    recomputed = {"none": 0, "full": blocks}.get(checkpointing)
    if recomputed is None:
        recomputed = ceil(blocks / checkpointing)
    again = recomputed * _block(config, latent_shape, text)
    return batch * float(forward_flops(config, latent_shape, text) + backward + again)


def lightlora_flops(
    config: Mapping,
    settings: Video2LoRASettings,
    layers: int,
    latent_shape: tuple[int, int, int, int],
    text_tokens: int,
    batch: int,
) -> float:
    """Forward and backward of the residuals of `layers` adapted linears as wide as the transformer."""
    width, rank = _width(config), settings.rank
    residual = 2 * 2 * (_tokens(config, latent_shape) + text_tokens) * rank * width
    factors = 2 * rank * width * (settings.down_size + settings.up_size)
    return 3.0 * batch * layers * (residual + factors)


def hypernetwork_flops(
    settings: Video2LoRASettings, layers: int, latent_shape: tuple[int, int, int, int], batch: int
) -> float:
    """Forward and backward of predicting the adapters of `layers` linears from references [F, C, h, w]."""
    frames, channels, height, cells = latent_shape
    video = prod(
        ceil(size / patch) for size, patch in zip((frames, height, cells), settings.patch, strict=True)
    )
    width, values = settings.width, settings.rank * (settings.down_size + settings.up_size)
    project = 2 * video * channels * prod(settings.patch) * width
    keys_values = settings.layers * 2 * 2 * video * width**2
    linears = (8 + 4 + 16) * layers * width**2  # of self-attention, cross-attention, feed-forward
    attention = 4 * layers * (layers + video) * width
    ends = 2 * 2 * layers * values * width  # embed and head
    passes = settings.refinements * (settings.layers * (linears + attention) + ends)
    # Neither the latents nor θ⁰ need a gradient.
    return batch * float(3 * (project + keys_values + passes) - project - ends / 2)


def _width(config: Mapping) -> int:
    return config["num_attention_heads"] * config["attention_head_dim"]


def _tokens(config: Mapping, latent_shape: tuple[int, int, int, int]) -> int:
    """Video tokens of one sample."""
    frames, _, height, width = latent_shape
    return frames * (height // config["patch_size"]) * (width // config["patch_size"])


def _block(config: Mapping, latent_shape: tuple[int, int, int, int], text_tokens: int) -> int:
    """One block, forward: four projections and a 4× feed-forward, attention, two modulations of norms."""
    tokens, width = _tokens(config, latent_shape) + text_tokens, _width(config)
    linears = 2 * tokens * (4 + 8) * width**2
    attention = 4 * tokens**2 * width
    modulation = 2 * 2 * config["time_embed_dim"] * 6 * width
    return linears + attention + modulation


def _ends(config: Mapping, latent_shape: tuple[int, int, int, int], text_tokens: int) -> int:
    """Embeddings of patches, text and time before the blocks, norm and projection after them."""
    video, width, time = _tokens(config, latent_shape), _width(config), config["time_embed_dim"]
    pixels = config["patch_size"] ** 2
    embeddings = video * config["in_channels"] * pixels + text_tokens * config["text_embed_dim"]
    last = video * pixels * config["out_channels"] + time * 2
    return 2 * width * (embeddings + last) + 2 * (width * time + time**2)
