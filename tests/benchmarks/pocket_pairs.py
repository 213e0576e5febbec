"""Pairs of encoded procedural clips for the pocket backbone: what trains, is held out, is unseen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from pipeline.pocket import HELD_OUT, encoded_clips
from pipeline.samples.effects import EFFECTS
from training.backbone import Backbone
from training.batch import TrainingBatch
from training.pretrain.encoded import EncodedClips
from training.randomness import stream

NAMES = tuple(EFFECTS)
# Every fifth, so that each of the three groups of effects has some.
UNSEEN = tuple(range(2, len(NAMES), 5))
SEEN = tuple(index for index in range(len(NAMES)) if index not in UNSEEN)
TRAIN_FROM, TEST_FROM = 2 * HELD_OUT, 3 * HELD_OUT


@dataclass(frozen=True)
class Pairs:
    """References and targets of one category each; clip n of a set shows effect n mod 48.

    Attributes:
        encoded: latents and captions.
        text: T5 embeddings of the captions [n, T, D]; `empty` [T, D] is that of no caption.
    """

    encoded: EncodedClips
    text: Tensor
    empty: Tensor

    @classmethod
    def load(
        cls,
        backbone: Backbone,
        folder: Path,
        first: int,
        per_effect: int,
        progress: Callable[[int, int | None, dict], None] | None = None,
    ) -> Self:
        """Clips `first` … of the endless series, encoded in `folder` once."""
        encoded = encoded_clips(backbone.vae, folder, first, per_effect * len(NAMES), progress)
        return cls(encoded, backbone.encode_text(encoded.captions), backbone.encode_text([""])[0])

    @property
    def per_effect(self) -> int:
        return len(self.encoded.captions) // len(NAMES)

    def batch(
        self, targets: list[int], references: list[int], seed: int, dropout: float = 0
    ) -> TrainingBatch:
        """Targets under the effects that the references show; both are numbers within the set."""
        clips, _ = self.encoded.batch(targets, seed)
        draw = stream(seed, "caption dropout")
        dropped = torch.from_numpy(draw.random(len(targets)) < dropout)
        latents = self.encoded.mean[references].float()
        frames, _, height, width = latents.shape[1:]
        return replace(
            clips,
            reference_latents=latents,
            reference_mask=torch.ones(len(latents), frames, height, width, dtype=torch.bool),
            text_embeddings=torch.where(dropped[:, None, None], self.empty, self.text[targets]),
            pair_ids=[f"{a}<-{b}" for a, b in zip(targets, references, strict=True)],
        )

    def training(self, step: int, size: int, seed: int, references: str) -> TrainingBatch:
        """The batch of a step. `references`: "same" category, "shuffled" (any seen one) or "blank" (zeros).

        Targets, noise and timesteps do not depend on it.
        """
        draw = stream(step, f"pocket pairs {seed}")
        effects = draw.choice(SEEN, size=size)
        others = draw.choice(SEEN, size=size)
        numbers = draw.integers(self.per_effect, size=(2, size))
        shown = others if references == "shuffled" else effects
        targets = (numbers[0] * len(NAMES) + effects).tolist()
        batch = self.batch(
            targets, (numbers[1] * len(NAMES) + shown).tolist(), int(draw.integers(2**62)), dropout=0.1
        )
        if references == "blank":
            return replace(batch, reference_latents=torch.zeros_like(batch.reference_latents))
        return batch

    def held_out(self, effects: tuple[int, ...], seed: int) -> list[tuple[int, int, int]]:
        """(target, reference of its effect, one of another of `effects`) for every clip of `effects`."""
        draw = stream(seed, "held-out pocket pairs")
        rows = []
        for effect in effects:
            for number in range(self.per_effect):
                other = int(draw.choice([index for index in effects if index != effect]))
                same = (number + 1 + int(draw.integers(self.per_effect - 1))) % self.per_effect
                wrong = int(draw.integers(self.per_effect))
                rows.append(
                    tuple(n * len(NAMES) + e for n, e in ((number, effect), (same, effect), (wrong, other)))
                )
        return rows
