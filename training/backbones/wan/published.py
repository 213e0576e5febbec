"""The published configurations of Wan2.1-I2V-14B-480P: what can be known of the model without its weights."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import WanTransformer3DModel

TRANSFORMER_14B_I2V: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 13824,
    "num_layers": 40,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "image_dim": 1280,
    "added_kv_proj_dim": 5120,
    "rope_max_seq_len": 1024,
}

SCHEDULER_14B_I2V: dict[str, Any] = {
    "_class_name": "UniPCMultistepScheduler",
    "flow_shift": 3.0,
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
}


def meta_transformer(config: Mapping[str, Any] = TRANSFORMER_14B_I2V) -> WanTransformer3DModel:
    """The transformer of a configuration without storage: every name, shape and count, no weight."""
    with torch.device("meta"):
        return WanTransformer3DModel.from_config(dict(config))
