"""Pairs of the pocket backbone without a backbone: latents of noise."""

from pathlib import Path

import torch

from pipeline.pocket.backbone import NAMES
from pipeline.pocket.pairs import Pairs
from training.pretrain.encoded import EncodedClips


def random_pairs(
    folder: Path,
    per_category: int,
    categories: tuple[str, ...] = NAMES,
    latents: tuple[int, ...] = (2, 4, 2, 3),
    text: tuple[int, int] = (5, 8),
) -> Pairs:
    """So many clips of each category, latents [F, C, h, w], text tokens [T, D]."""
    count = per_category * len(categories)
    encoded = EncodedClips(folder)
    generator = torch.Generator().manual_seed(0)
    encoded.mean = torch.randn(count, *latents, generator=generator).bfloat16()
    encoded.std = torch.full_like(encoded.mean, 0.1)
    encoded.first = encoded.mean[:, 0]
    told, named = torch.randn(2, count, *text, generator=generator)
    return Pairs(encoded, told, named, torch.zeros(text), categories, range(count))
