"""Pairs of encoded procedural clips for the pocket backbone: what trains, is held out, is unseen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from pipeline.pocket.backbone import NAMES, POCKET_SHAPE, encoded_clips, generator, naming
from pipeline.pocket.families import FAMILIES, PocketBackbone
from pipeline.pocket.renders import Renders
from pipeline.samples.draw import HELD_OUT
from pipeline.samples.splits import UNSEEN
from training.batch import References as BatchReferences
from training.batch import TrainingBatch
from training.methods.own_loss import OwnClips
from training.pretrain.encoded import EncodedClips
from training.pretrain.precision import Precision
from training.progress import Progress
from training.randomness import derive, stream

# Pairs are made of the clips that taught the backbone, and measured on others.
TRAIN_FROM, TEST_FROM = 0, 3 * HELD_OUT
References = Literal["same", "shuffled", "blank"]


@dataclass(frozen=True)
class Pairs:
    """References and targets of one category each, on the backbone's device.

    Attributes:
        encoded: latents of the clips, and their first frames as a `Scene` of the family has them.
        text: embeddings of the captions [n, T, D]; `named` of captions that also name the effect, `empty`
            [T, D] of no caption.
        categories: clip n of the set shows categories[n mod their count].
        numbers: of the clips in the endless series of `draw_clip`.
        unseen: categories that are never trained on.
    """

    encoded: EncodedClips
    text: Tensor
    named: Tensor
    empty: Tensor
    categories: tuple[str, ...] = NAMES
    numbers: Sequence[int] = ()
    unseen: frozenset[str] = UNSEEN

    @classmethod
    def load(
        cls,
        backbone: PocketBackbone,
        folder: Path,
        first: int,
        per_category: int,
        progress: Progress | None = None,
        categories: tuple[str, ...] = NAMES,
        precision: Precision = "bfloat16",
        unseen: frozenset[str] = UNSEEN,
    ) -> Self:
        """Clips `first` … of the endless series that show these categories, rendered and encoded in `folder`
        once."""
        renders = renders_of(folder, first, per_category, categories)
        renders.fill(progress)
        family = FAMILIES[backbone.settings.family]
        encoded = encoded_clips(backbone.vae, folder, renders, progress, precision, family)
        encoded.first = family.first_frames(backbone, encoded.first, renders)
        captions = renders.captions
        told = [naming(caption, categories[n % len(categories)]) for n, caption in enumerate(captions)]
        text, named = (
            torch.cat([backbone.encode_text(rows[at : at + 512]) for at in range(0, len(rows), 512)])
            for rows in (captions, told)
        )
        return cls(encoded, text, named, backbone.encode_text([""])[0], categories, renders.numbers, unseen)

    @property
    def per_category(self) -> int:
        return len(self.encoded) // len(self.categories)

    @cached_property
    def seen(self) -> list[str]:
        """Those of the categories that are trained on."""
        return [name for name in self.categories if name not in self.unseen]

    @property
    def device(self) -> torch.device:
        return self.encoded.mean.device

    def clip(self, category: str, number: int) -> int:
        """Which clip of the set is the category's, from 0."""
        return number * len(self.categories) + self._places[category]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.categories)}

    def category_of(self, clip: int) -> str:
        """The category that a clip of the set shows."""
        return self.categories[clip % len(self.categories)]

    def references(self, clips: Sequence[int], kind: References = "same") -> BatchReferences:
        """These clips as references, whole, with first frames and captions; zeros and the empty caption where
        the kind is "blank"."""
        rows = list(clips)
        latents, first = self.encoded.mean[rows].float(), self.encoded.first[rows].float()
        texts = self.text[rows]
        if kind == "blank":
            latents, first = torch.zeros_like(latents), torch.zeros_like(first)
            texts = self.empty.expand_as(texts)
        return BatchReferences(
            tuple(map(self.category_of, clips)),
            latents,
            torch.ones_like(latents[:, :, 0], dtype=torch.bool),
            first[:, None],
            texts[:, None],
            padded=False,
        )

    def own_clips(self, clips: Sequence[int]) -> OwnClips:
        """These clips as targets of their own, for polish: their first frames, their captions."""
        rows = list(clips)
        return OwnClips.whole(
            self.encoded.mean[rows].float(), self.encoded.first[rows].float(), self.text[rows]
        )

    def batch(
        self,
        targets: Sequence[int],
        references: Sequence[int],
        seed: int,
        dropout: float = 0,
        kind: References = "same",
        noise: bool = False,
    ) -> TrainingBatch:
        """Targets beside these references, both numbers within the set; for `kind` see `references`.

        `noise`: drawn on the device instead of by each sample's seed, which on a GPU takes no time.
        """
        drawn = generator(self.device, seed, "pocket batch")
        latents, first_frames = self.encoded.draw(targets, drawn)
        dropped = torch.from_numpy(stream(seed, "caption dropout").random(len(targets)) < dropout)
        text = self.text[list(targets)]
        return TrainingBatch(
            target_latents=latents,
            references=self.references(references, kind),
            first_frame_latents=first_frames,
            text_embeddings=torch.where(dropped.to(self.device)[:, None, None], self.empty, text),
            sample_seeds=torch.tensor([derive(seed, f"sample {place}") for place in range(len(targets))]),
            pair_ids=[f"{a}<-{b}" for a, b in zip(targets, references, strict=True)],
            noise=torch.randn(latents.shape, generator=drawn, device=self.device) if noise else None,
        )

    def training(self, step: int, size: int, seed: int, references: References) -> TrainingBatch:
        """The batch of a step: pairs of seen categories, a clip never its own reference.

        `references`: of the "same" category, "shuffled" (any seen one) or "blank" (zeros). Targets, noise and
        timesteps do not depend on it.
        """
        draw = stream(step, f"pocket pairs {seed}")
        chosen, others = draw.choice(self.seen, size=(2, size)).tolist()
        numbers = draw.integers(self.per_category, size=size)
        further = (numbers + 1 + draw.integers(self.per_category - 1, size=size)) % self.per_category
        shown = others if references == "shuffled" else chosen
        return self.batch(
            [self.clip(name, number) for name, number in zip(chosen, numbers.tolist(), strict=True)],
            [self.clip(name, number) for name, number in zip(shown, further.tolist(), strict=True)],
            int(draw.integers(2**62)),
            dropout=0.1,
            kind=references,
            noise=True,
        )

    def held_out(self, categories: Sequence[str], seed: int) -> list[tuple[int, int, int]]:
        """Rows (target, reference of its category, one of another) for every clip of `categories`."""
        draw = stream(seed, "held-out pocket pairs")
        rows = []
        for name in categories:
            others = np.array([other for other in categories if other != name])
            for number in range(self.per_category):
                other = str(draw.choice(others))
                same = (number + 1 + int(draw.integers(self.per_category - 1))) % self.per_category
                wrong = int(draw.integers(self.per_category))
                rows.append((self.clip(name, number), self.clip(name, same), self.clip(other, wrong)))
        return rows


def renders_of(folder: Path, first: int, per_category: int, categories: tuple[str, ...] = NAMES) -> Renders:
    """The clips of `Pairs.load`, of any backbone, before they are filled."""
    places = [NAMES.index(name) for name in categories]
    numbers = [first + turn * len(NAMES) + place for turn in range(per_category) for place in places]
    kind = "" if categories == NAMES else f"-{'-'.join(map(str, places))}"
    return Renders(folder / f"renders-{first}-{per_category}{kind}", numbers, NAMES, POCKET_SHAPE)
