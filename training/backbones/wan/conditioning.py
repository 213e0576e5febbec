"""What a Wan 2.1 image-to-video transformer is given beside the noisy latents, as in diffusers' pipeline.

A first frame becomes two tensors: the latents of a video that begins with it and is grey after it, and the
penultimate state of CLIP's image encoder. They are kept as one, laid end to end.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from training.backbones.base import Scene
from training.errors import UnsupportedBackbone

# diffusers' attention takes the last 512 tokens for text, and what stands before them for the image.
TEXT_TOKENS = 512


def require_image_to_video(config: Mapping) -> None:
    """Check that a transformer's configuration is a Wan 2.1 image-to-video one; else UnsupportedBackbone."""
    mask = config["in_channels"] - 2 * config["out_channels"]
    if config.get("image_dim") is None or config.get("added_kv_proj_dim") is None or mask < 1:
        raise UnsupportedBackbone(
            "This transformer is no Wan 2.1 image-to-video one (it takes no image). Set backbone.model to a"
            " Wan2.1-I2V-14B-480P-Diffusers."
        )
    if config.get("pos_embed_seq_len") is not None:
        raise UnsupportedBackbone(
            "This transformer takes a first and a last frame (Wan 2.1 FLF2V). Set backbone.model to an I2V"
            " one."
        )


def packed(condition: Tensor, image: Tensor) -> Tensor:
    """Condition latents [F, C, h, w] and the image's state [tokens, width] as one [n]."""
    return torch.cat([condition.flatten(), image.flatten().to(condition.dtype)])


def unpacked(first_frame: Tensor, latent_shape: Sequence[int], width: int) -> tuple[Tensor, Tensor]:
    """Of packed first frames [B, n]: condition latents [B, F, C, h, w], images' states [B, tokens, width]."""
    size = prod(latent_shape)
    condition = first_frame[:, :size].unflatten(1, tuple(latent_shape))
    return condition, first_frame[:, size:].unflatten(1, (-1, width))


def kept_mask(latents: Tensor, ratio: int) -> Tensor:
    """The mask of a kept first frame beside latents [B, F, C, h, w]: [B, F, ratio, h, w], 1 where kept.

    A mask of pixels' frames, its first repeated `ratio` times, folded by `ratio` into channels: of the first
    latent frame all are kept, of the others none.
    """
    mask = latents.new_zeros(*latents.shape[:2], ratio, *latents.shape[3:])
    mask[:, 0] = 1
    return mask


def predict_flow(
    transformer: WanTransformer3DModel,
    noisy: Tensor,
    scene: Scene,
    timesteps: Tensor,
    text_tokens: int = TEXT_TOKENS,
) -> Tensor:
    """The transformer's output [B, F, C, h, w] for noisy latents at timesteps [B], in its own dtype.

    `text_tokens`: to which the text is padded with zeros; fewer where the attention counts them otherwise.
    """
    config, dtype = transformer.config, transformer.patch_embedding.weight.dtype
    condition, image = unpacked(scene.first_frame.to(dtype), noisy.shape[1:], config.image_dim)
    ratio = config.in_channels - 2 * config.out_channels
    mask = kept_mask(condition, ratio) if scene.kept is None else scene.kept.to(dtype)
    inputs = torch.cat([noisy.to(dtype), mask, condition], dim=2).transpose(1, 2)
    text = scene.text
    padding = text.new_zeros(len(text), text_tokens - text.shape[1], text.shape[2])
    predicted: Tensor = transformer(
        hidden_states=inputs,
        timestep=timesteps,
        encoder_hidden_states=torch.cat([text, padding], dim=1).to(dtype),
        encoder_hidden_states_image=image,
        return_dict=False,
    )[0]
    return predicted.transpose(1, 2)
