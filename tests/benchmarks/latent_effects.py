"""Synthetic latents of 'effect' clips: what a region of the picture turns into over time.

A category is a region that grows with time and a colour (a direction in channel space) that fills it. A clip
is a random subject in a random place, with its own pace, strength and start. Subject and effect are
independent, so a first frame says nothing about the effect: only a reference does.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.batch import Sample, TrainingBatch, collate
from training.randomness import stream

FRAMES, CHANNELS, HEIGHT, WIDTH = 5, 16, 8, 8
SHAPE = (FRAMES, CHANNELS, HEIGHT, WIDTH)
TEXT_TOKENS, TEXT_WIDTH = 2, 8
REGIONS = ("all", "from left", "from top", "from centre", "checker")
COLOURS = ("red", "blue")
CATEGORIES = tuple((region, colour) for colour in COLOURS for region in REGIONS)
# One of each colour; each of their regions and colours is seen in another combination.
UNSEEN = (CATEGORIES.index(("from left", "blue")), CATEGORIES.index(("from centre", "red")))
SEEN = tuple(index for index in range(len(CATEGORIES)) if index not in UNSEEN)


def clip(category: int, number: int) -> Tensor:
    """Latents [F, C, h, w] of unit scale, a pure function of the category and the clip's number."""
    region, colour = CATEGORIES[category]
    draw = stream(number, f"clip of category {category}")
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    background, subject = (draw.standard_normal((CHANNELS, 1, 1)) for _ in range(2))
    centre = draw.uniform(2, HEIGHT - 3, size=2)
    blob = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / draw.uniform(3, 8))
    still = 0.6 * background + 1.2 * subject * blob
    pace, start, strength = draw.uniform(0.8, 1.4), draw.uniform(0, 0.25), draw.uniform(1.2, 1.8)
    progress = np.clip(pace * (np.linspace(0, 1, FRAMES) - start), 0, 1)[:, None, None]
    reach = _reach(region, rows, columns)[None]
    mask = np.clip((progress * 1.3 - reach) / 0.3, 0, 1)[:, None]
    target = strength * _colour(colour)[None, :, None, None]
    frames = (1 - mask) * still[None] + mask * target
    return torch.from_numpy((frames + 0.05 * draw.standard_normal(SHAPE)).astype(np.float32))


def _reach(region: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """When the effect arrives at a cell, in 0..1."""
    if region == "from left":
        return columns / (WIDTH - 1)
    if region == "from top":
        return rows / (HEIGHT - 1)
    if region == "from centre":
        return np.hypot(rows - (HEIGHT - 1) / 2, columns - (WIDTH - 1) / 2) / np.hypot(HEIGHT, WIDTH) * 2
    if region == "checker":
        # Two latent cells make a patch of the transformer: the squares are patches.
        return np.where((rows // 2 + columns // 2) % 2 == 0, 0.0, 2.0)
    return np.zeros_like(rows)


def _colour(name: str) -> np.ndarray:
    return stream(COLOURS.index(name), "colour").choice([-1.0, 1.0], size=CHANNELS)


def batch_of(pairs: Sequence[tuple[int, int, int, int]], seeds: Sequence[int]) -> TrainingBatch:
    """Pairs (target category, target number, reference category, reference number) as a training batch."""
    samples = []
    for (category, number, other, reference), seed in zip(pairs, seeds, strict=True):
        target = clip(category, number)
        samples.append(
            Sample(
                target_latents=target,
                reference_latents=clip(other, reference),
                reference_mask=torch.ones(FRAMES, HEIGHT, WIDTH, dtype=torch.bool),
                first_frame_latents=target[0],
                text_embeddings=torch.zeros(TEXT_TOKENS, TEXT_WIDTH),
                sample_seed=seed,
                pair_id=f"{category}-{number}<-{other}-{reference}",
            )
        )
    return collate(samples)


def training_pairs(
    step: int, size: int, seed: int, shuffled: bool, categories: Sequence[int] = SEEN
) -> TrainingBatch:
    """The batch of a training step. `shuffled` references are of any category, targets and noise the same."""
    draw = stream(step, f"training pairs {seed}")
    pairs = []
    for _ in range(size):
        category, any_other = (int(draw.choice(categories)) for _ in range(2))
        other = any_other if shuffled else category
        pairs.append((category, int(draw.integers(10**6)), other, int(draw.integers(10**6))))
    return batch_of(pairs, [int(draw.integers(2**62)) for _ in pairs])


def held_out_pairs(
    categories: Sequence[int], count: int, size: int, seed: int
) -> list[tuple[TrainingBatch, TrainingBatch]]:
    """`count` pairs per category of clips that training cannot draw, each beside a wrong reference.

    The wrong one is of a category that differs from the right one in region or colour or both.
    """
    draw = stream(seed, "held-out pairs")
    rows = []
    for category in categories:
        for _ in range(count):
            target, reference, wrong = (10**6 + int(draw.integers(10**6)) for _ in range(3))
            other = int(draw.choice([index for index in range(len(CATEGORIES)) if index != category]))
            rows.append(((category, target, category, reference), (category, target, other, wrong)))
    seeds = [int(draw.integers(2**62)) for _ in rows]
    return [
        (
            batch_of([a for a, _ in chunk], seeds[at : at + size]),
            batch_of([b for _, b in chunk], seeds[at : at + size]),
        )
        for at in range(0, len(rows), size)
        if (chunk := rows[at : at + size])
    ]
