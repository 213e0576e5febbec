"""The published configurations of CogVideoX-5B-I2V: what can be known of the model without its weights."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel

TRANSFORMER_5B_I2V: dict[str, Any] = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 64,
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 32,
    "max_text_seq_length": 226,
    "norm_elementwise_affine": True,
    "norm_eps": 1e-05,
    "num_attention_heads": 48,
    "num_layers": 42,
    "out_channels": 16,
    "patch_size": 2,
    "sample_frames": 49,
    "sample_height": 60,
    "sample_width": 90,
    "spatial_interpolation_scale": 1.875,
    "temporal_compression_ratio": 4,
    "temporal_interpolation_scale": 1.0,
    "text_embed_dim": 4096,
    "time_embed_dim": 512,
    "timestep_activation_fn": "silu",
    "use_learned_positional_embeddings": True,
    "use_rotary_positional_embeddings": True,
}

VAE_5B_I2V: dict[str, Any] = {
    "block_out_channels": (128, 256, 256, 512),
    "in_channels": 3,
    # Only CogVideoX 1.5's is true: the first frame's latents are multiplied like those of the video.
    "invert_scale_latents": False,
    "latent_channels": 16,
    "layers_per_block": 3,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_height": 480,
    "sample_width": 720,
    "scaling_factor": 0.7,
    "temporal_compression_ratio": 4,
}

SCHEDULER_5B_I2V: dict[str, Any] = {
    "_class_name": "CogVideoXDDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "snr_shift_scale": 1.0,
    "steps_offset": 0,
    "timestep_spacing": "trailing",
}


def meta_transformer(config: Mapping[str, Any] = TRANSFORMER_5B_I2V) -> CogVideoXTransformer3DModel:
    """The transformer of a configuration without storage: every name, shape and count, no weight."""
    with torch.device("meta"):
        return CogVideoXTransformer3DModel.from_config(dict(config))
