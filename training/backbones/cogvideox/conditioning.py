"""What a CogVideoX-I2V transformer is given beside the noisy latents, exactly as in diffusers' pipeline."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_1d_rotary_pos_embed, get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import get_resize_crop_region_for_grid
from torch import Tensor

from training.errors import UnsupportedBackbone


def require_image_to_video(config: Mapping) -> None:
    """Check that a transformer's configuration is a CogVideoX 1.0 image-to-video one.

    Raises:
        UnsupportedBackbone: patches in time or an `ofs` embedding (CogVideoX 1.5), or no channels for an
        image.
    """
    if config.get("patch_size_t") is not None or config.get("ofs_embed_dim") is not None:
        raise UnsupportedBackbone(
            "This transformer is a CogVideoX 1.5 (patches in time). Set model to a CogVideoX-5B-I2V."
        )
    if config["in_channels"] != 2 * config["out_channels"]:
        raise UnsupportedBackbone(
            f"This transformer takes {config['in_channels']} channels and returns {config['out_channels']};"
            " an image-to-video one takes twice what it returns. Set model to an I2V backbone."
        )


def with_first_frame(noisy: Tensor, first_frame_latents: Tensor) -> Tensor:
    """Noisy latents [B, F, C, h, w] and image latents [B, C, h, w] on channels: [B, F, 2C, h, w].

    The image stands in frame 0 of its channels; the frames after it are zeros.
    """
    image = torch.zeros_like(noisy)
    image[:, 0] = first_frame_latents
    return torch.cat([noisy, image], dim=2)


def predict_velocity(
    transformer: CogVideoXTransformer3DModel,
    noisy: Tensor,
    first_frame_latents: Tensor,
    text_embeddings: Tensor,
    timesteps: Tensor,
) -> Tensor:
    """The transformer's output [B, F, C, h, w] for noisy latents at timesteps int64 [B], in its own dtype."""
    dtype = transformer.patch_embed.proj.weight.dtype
    frames, _, height, width = noisy.shape[1:]
    return transformer(
        hidden_states=with_first_frame(noisy.to(dtype), first_frame_latents.to(dtype)),
        encoder_hidden_states=text_embeddings.to(dtype),
        timestep=timesteps,
        image_rotary_emb=rotary_embedding(transformer.config, frames, height, width, noisy.device),
        return_dict=False,
    )[0]


def rotary_embedding(
    config: Mapping, frames: int, height: int, width: int, device: torch.device, first: int = 0
) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines of the rotary positions for latents of F × h × w; None where it has none.

    The first frame stands at time `first`, where diffusers' pipeline has 0.
    """
    if not config["use_rotary_positional_embeddings"]:
        return None
    patch = config["patch_size"]
    base = config["sample_height"] // patch, config["sample_width"] // patch
    grid = height // patch, width // patch
    return _rotary(config["attention_head_dim"], frames, grid, base, str(device), first)


@lru_cache(maxsize=8)
def _rotary(
    head_dim: int, frames: int, grid: tuple[int, int], base: tuple[int, int], device: str, first: int
) -> tuple[Tensor, Tensor]:
    # The crop function takes the base as (width, height); its grid is (height, width).
    crops = get_resize_crop_region_for_grid(grid, base[1], base[0])
    table = get_3d_rotary_pos_embed(
        embed_dim=head_dim,
        crops_coords=crops,
        grid_size=grid,
        temporal_size=frames,
        device=torch.device(device),
    )
    if not first:
        return table
    # A quarter of the dimensions, the first ones, tell the time.
    quarter = head_dim // 4
    times = torch.arange(first, first + frames, dtype=torch.float32, device=torch.device(device))
    shifted = get_1d_rotary_pos_embed(quarter, times, use_real=True)
    cosines, sines = (
        torch.cat([time.repeat_interleave(grid[0] * grid[1], dim=0), each[:, quarter:]], dim=1)
        for time, each in zip(shifted, table, strict=True)
    )
    return cosines, sines
