"""A small Wan with random weights, the method on it, and a video whose square moves."""

from pathlib import Path

import numpy as np
import torch

from tests.training.small_backbones import GEOMETRY, TEXT_TOKENS
from training.backbones.base import Backbone
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.batch import References, TrainingBatch
from training.methods.registry import build_method, edit_masks, parse_settings

RANK = 4
N, H, W = GEOMETRY.num_frames, GEOMETRY.height, GEOMETRY.width


def wan_settings(folder: Path, **changes) -> BackboneSettings:
    sizes = {"num_frames": N, "height": H, "width": W}
    fields = {"family": "wan", "max_text_tokens": TEXT_TOKENS, "dtype": "float32", **sizes}
    return BackboneSettings(model=str(folder), **fields | changes)


def load_wan(folder: Path, parts=("transformer", "vae", "text")) -> Backbone:
    return load_backbone(wan_settings(folder), parts)


def build(backbone: Backbone, **changes):
    return build_method(parse_settings({"kind": "lora_edit", "rank": RANK} | changes), backbone.dit, seed=3)


def video() -> np.ndarray:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 90, (1, H, W, 3)), N, axis=0).astype(np.uint8)
    for number in range(N):
        frames[number, 8:20, 8 + 2 * number : 20 + 2 * number] = (220, 60, 40)
    return frames


def changed() -> np.ndarray:
    return np.array(edit_masks().of_box((6, 6, 34, 18), H, W, N))


def batch_of(backbone: Backbone, frames: np.ndarray, kept: np.ndarray, seed: int = 0) -> TrainingBatch:
    """One sample: the frames as target, with grey for what is not preserved as condition."""
    masks = edit_masks()
    latents, _ = backbone.encode_video(frames)
    return TrainingBatch(
        target_latents=latents[None],
        references=References(("",)),
        first_frame_latents=backbone.encode_shown(masks.greyed(frames, kept), frames[0])[None],
        text_embeddings=backbone.encode_text(["p3rs0n, a square"]),
        sample_seeds=torch.tensor([seed]),
        pair_ids=["video"],
        kept=masks.folded(kept, *latents.shape[2:])[None],
    )
