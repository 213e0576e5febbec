"""Pairs of encoded procedural clips for the pocket backbone: what trains, is held out, is unseen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from pipeline.pocket.backbone import HELD_OUT, encoded_clips, naming
from pipeline.samples.effects import EFFECTS
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.batch import References as BatchReferences
from training.batch import TrainingBatch
from training.methods.own_loss import OwnClips
from training.pretrain.encoded import EncodedClips
from training.pretrain.precision import Precision
from training.randomness import stream

NAMES = tuple(EFFECTS)
# Every fifth, so that each of the three groups of effects has some.
UNSEEN = tuple(range(2, len(NAMES), 5))
ALL = tuple(range(len(NAMES)))
SEEN = tuple(index for index in ALL if index not in UNSEEN)
# Pairs are made of the clips that taught the backbone, and measured on others.
TRAIN_FROM, TEST_FROM = 0, 3 * HELD_OUT
References = Literal["same", "shuffled", "blank"]


@dataclass(frozen=True)
class Pairs:
    """References and targets of one category each.

    Attributes:
        encoded: latents and captions.
        text: T5 embeddings of the captions [n, T, D]; `named` of captions that also name the effect, `empty`
            [T, D] of no caption.
        effects: clip n of the set shows effects[n mod their count].
    """

    encoded: EncodedClips
    text: Tensor
    named: Tensor
    empty: Tensor
    effects: tuple[int, ...] = ALL

    @classmethod
    def load(
        cls,
        backbone: CogVideoXBackbone,
        folder: Path,
        first: int,
        per_effect: int,
        progress: Callable[[int, int | None, dict], None] | None = None,
        effects: tuple[int, ...] = ALL,
        precision: Precision = "bfloat16",
    ) -> Self:
        """Clips `first` … of the endless series that show these effects, encoded in `folder` once."""
        numbers = [first + round_ * len(NAMES) + effect for round_ in range(per_effect) for effect in effects]
        if effects != ALL:
            folder = folder / ("effects-" + "-".join(map(str, effects)))
        encoded = encoded_clips(backbone.vae, folder, numbers, progress, precision=precision)
        told = [
            naming(caption, NAMES[effects[clip % len(effects)]])
            for clip, caption in enumerate(encoded.captions)
        ]
        text, named, empty = map(backbone.encode_text, (encoded.captions, told, [""]))
        return cls(encoded, text, named, empty[0], effects)

    @property
    def per_effect(self) -> int:
        return len(self.encoded.captions) // len(self.effects)

    @property
    def seen(self) -> list[int]:
        """Those of the effects that are trained on."""
        return [effect for effect in self.effects if effect not in UNSEEN]

    def clip(self, effect: int, number: int) -> int:
        """Which clip of the set is the effect's, from 0."""
        return number * len(self.effects) + self.effects.index(effect)

    def effect_of(self, clip: int) -> int:
        """The effect that a clip of the set shows."""
        return self.effects[clip % len(self.effects)]

    def references(self, clips: list[int], kind: References) -> Tensor:
        """Latents [B, F, C, h, w] of these clips as references; zeros where the kind is "blank"."""
        latents = self.encoded.mean[clips].float()
        return torch.zeros_like(latents) if kind == "blank" else latents

    def own_clips(self, clips: list[int]) -> OwnClips:
        """These clips as targets of their own, for polish: their first frames, their captions."""
        chosen = self.encoded.mean[clips].float(), self.encoded.first[clips].float(), self.text[clips]
        return OwnClips.whole(*chosen)

    def batch(
        self,
        targets: list[int],
        references: list[int],
        seed: int,
        dropout: float = 0,
        kind: References = "same",
    ) -> TrainingBatch:
        """Targets beside these references, both numbers within the set; for `kind` see `references`."""
        clips, _ = self.encoded.batch(targets, seed)
        draw = stream(seed, "caption dropout")
        dropped = torch.from_numpy(draw.random(len(targets)) < dropout)
        latents = self.references(references, kind)
        frames, _, height, width = latents.shape[1:]
        return replace(
            clips,
            references=BatchReferences(
                tuple(NAMES[self.effect_of(clip)] for clip in references),
                latents,
                torch.ones(len(latents), frames, height, width, dtype=torch.bool),
            ),
            text_embeddings=torch.where(dropped[:, None, None], self.empty, self.text[targets]),
            pair_ids=[f"{a}<-{b}" for a, b in zip(targets, references, strict=True)],
        )

    def training(self, step: int, size: int, seed: int, references: References) -> TrainingBatch:
        """The batch of a step: pairs of seen effects, a clip never its own reference.

        `references`: of the "same" category, "shuffled" (any seen one) or "blank" (zeros). Targets, noise and
        timesteps do not depend on it.
        """
        draw = stream(step, f"pocket pairs {seed}")
        effects, others = draw.choice(self.seen, size=(2, size)).tolist()
        numbers = draw.integers(self.per_effect, size=size)
        further = (numbers + 1 + draw.integers(self.per_effect - 1, size=size)) % self.per_effect
        shown = others if references == "shuffled" else effects
        return self.batch(
            [self.clip(effect, number) for effect, number in zip(effects, numbers.tolist(), strict=True)],
            [self.clip(effect, number) for effect, number in zip(shown, further.tolist(), strict=True)],
            int(draw.integers(2**62)),
            dropout=0.1,
            kind=references,
        )

    def held_out(self, effects: tuple[int, ...], seed: int) -> list[tuple[int, int, int]]:
        """Rows (target, reference of its effect, one of another of `effects`) for every clip of `effects`."""
        draw = stream(seed, "held-out pocket pairs")
        rows = []
        for effect in effects:
            for number in range(self.per_effect):
                other = int(draw.choice([index for index in effects if index != effect]))
                same = (number + 1 + int(draw.integers(self.per_effect - 1))) % self.per_effect
                wrong = int(draw.integers(self.per_effect))
                rows.append((self.clip(effect, number), self.clip(effect, same), self.clip(other, wrong)))
        return rows
