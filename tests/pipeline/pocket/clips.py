"""Pairs of the pocket backbone without a backbone: latents of noise."""

from pathlib import Path

import torch

from pipeline.pocket.backbone import NAMES
from pipeline.pocket.pairs import Pairs
from training.pretrain.encoded import EncodedClips


def random_pairs(folder: Path, per_category: int, categories: tuple[str, ...] = NAMES) -> Pairs:
    """So many clips of each category, latents [2, 4, 2, 3], five text tokens of width 8."""
    count = per_category * len(categories)
    encoded = EncodedClips(folder)
    generator = torch.Generator().manual_seed(0)
    encoded.mean = torch.randn(count, 2, 4, 2, 3, generator=generator).bfloat16()
    encoded.std = torch.full_like(encoded.mean, 0.1)
    encoded.first = encoded.mean[:, 0]
    text, named = torch.randn(2, count, 5, 8, generator=generator)
    return Pairs(encoded, text, named, torch.zeros(5, 8), categories, range(count))
