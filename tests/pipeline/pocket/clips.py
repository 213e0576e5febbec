"""Pairs of the pocket backbone without a backbone: latents of noise."""

from pathlib import Path

import torch

from pipeline.pocket.pairs import NAMES, Pairs
from training.pretrain.encoded import EncodedClips


def random_pairs(folder: Path, per_effect: int) -> Pairs:
    """So many clips of each effect, latents [2, 4, 2, 3], five text tokens of width 8."""
    count = per_effect * len(NAMES)
    encoded = EncodedClips(folder)
    generator = torch.Generator().manual_seed(0)
    encoded.mean = torch.randn(count, 2, 4, 2, 3, generator=generator).bfloat16()
    encoded.std = torch.full_like(encoded.mean, 0.1)
    encoded.first = encoded.mean[:, 0]
    encoded.captions = [f"clip {number}" for number in range(count)]
    text, named = torch.randn(2, count, 5, 8, generator=generator)
    return Pairs(encoded, text, named, torch.zeros(5, 8))
