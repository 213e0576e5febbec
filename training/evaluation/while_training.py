"""Looking at held-out pairs while a run trains: the transfer gap, and videos to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.backbones.base import Sampler
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.batch import TrainingBatch
from training.evaluation.transfer_gap import PairLosses, pair_losses, transfer_gap
from training.generate import Guidance, denoise
from training.methods.base import Method, device_of, dtype_of

BOTH = tuple[TrainingBatch, TrainingBatch]


class HeldOutPairs(Protocol):
    """Delivers held-out pairs by number; made in `pipeline/`, picklable.

    `groups[n]` says what pair n shows: "seen" (a category that trains) or "unseen"; `categories[n]` of which
    category it is.
    """

    groups: Sequence[str]
    categories: Sequence[str]

    def batch(self, numbers: Sequence[int]) -> BOTH:
        """The same targets twice: with references of their own categories, and of other ones."""

    def empty_caption(self) -> Tensor:
        """The embedding [T, D] of no caption: what guidance leads away from."""


class VideoWriter(Protocol):
    """Writes one video file; given by whoever may read and write videos."""

    def __call__(self, frames: np.ndarray, path: Path) -> object:
        """Frames uint8 [n, H, W, 3]."""


@dataclass(frozen=True)
class EvaluateTransfer:
    """The evaluation of a `TrainJob`: the transfer gap of each group with its bootstrap interval.

    The pairs are divided among the workers.

    Attributes:
        pairs: held-out pairs.
        batch_size: pairs denoised at once.
        draws: noises and timesteps per pair; the same ones at every step, so that figures can be compared.
    """

    pairs: HeldOutPairs
    batch_size: int = 1
    draws: int = 4
    # Losses under no adapter, by pair: the frozen backbone's, taken at the first look of this process.
    _none: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def measure(self, method: Method, worker: int = 0, workers: int = 1) -> PairLosses:
        """The losses of one worker's pairs."""
        mine = pair_losses(method, self._mine(method, worker, workers), self.draws, self._none)
        self._none.update(zip(mine.pair_ids, mine.none.tolist(), strict=True))
        return mine

    def row(self, measured: Sequence[PairLosses]) -> dict[str, float]:
        """The figures of what all workers measured; of each category its gap alone, `gap_of/CATEGORY`."""
        losses = _united(measured)
        groups = np.array([self.pairs.groups[int(n)] for n in losses.pair_ids])
        row: dict[str, float] = {}
        for group in sorted(set(groups)):
            gap = transfer_gap(losses, np.flatnonzero(groups == group))
            row |= {
                f"gap_{group}": gap.gap,
                f"gap_{group}_low": gap.low,
                f"gap_{group}_high": gap.high,
                f"loss_same_{group}": gap.loss_same,
                f"loss_other_{group}": gap.loss_other,
                f"loss_none_{group}": gap.loss_none,
                f"pairs_{group}": gap.pairs,
            }
        categories = np.array([self.pairs.categories[int(n)] for n in losses.pair_ids])
        for category in sorted(set(categories)):
            chosen = categories == category
            row[f"gap_of/{category}"] = float(1 - losses.same[chosen].mean() / losses.other[chosen].mean())
        return row

    def _mine(self, method: Method, worker: int, workers: int) -> Iterator[BOTH]:
        """A worker's batches, their pairs named by number. All workers have as many: under ZeRO-3 each
        forward needs every worker; a pair that is there twice counts once."""
        total = len(self.pairs.groups)
        share = -(-total // workers)
        numbers = [n % total for n in range(worker * share, (worker + 1) * share)]
        device, dtype = device_of(method), dtype_of(method)
        for at in range(0, share, self.batch_size):
            chosen = numbers[at : at + self.batch_size]
            named = [batch.to(device, dtype) for batch in self.pairs.batch(chosen)]
            for batch in named:
                batch.pair_ids[:] = map(str, chosen)
            yield named[0], named[1]


@dataclass(frozen=True)
class SampleVideos:
    """The samples of a `TrainJob`: the effect of a held-out reference on a held-out first frame and caption.

    Text and first frame come from the stored features, so only the VAE is loaded, by workers that write.

    Attributes:
        backbone: whose VAE and schedule are used.
        pairs: held-out pairs; the samples go evenly through their groups.
        count: how many videos.
        write: of a video file.
        steps, guidance, adapter_guidance: of the denoising.
    """

    backbone: BackboneSettings
    pairs: HeldOutPairs
    count: int
    write: VideoWriter
    steps: int = 50
    guidance: float = 6.0
    adapter_guidance: float = 1.0

    def __call__(
        self, method: Method, folder: Path, worker: int = 0, workers: int = 1, together: bool = False
    ) -> None:
        """Write one worker's videos into `folder`; `together`, all workers denoise each of them."""
        numbers = spread(self.pairs.groups, self.count)
        mine = numbers[worker::workers]
        backbone = load_backbone(self.backbone, ["vae"] if mine else [], device_of(method))
        for number in numbers if together else mine:
            batch = self.pairs.batch([number])[0].to(device_of(method), dtype_of(method))
            latents = self._denoised(method, batch, backbone.sampler())
            if number in mine:
                folder.mkdir(parents=True, exist_ok=True)
                target, _, reference = batch.pair_ids[0].partition("<-")
                name = f"{self.pairs.groups[number]}-{target[:12]}--{reference[:12]}.mp4"
                self.write(backbone.decode(latents).numpy(), path=folder / name)

    def _denoised(self, method: Method, batch: TrainingBatch, sampler: Sampler) -> Tensor:
        """Latents [F, C, h, w] from the sample's own seed: the same noise at every step of the run."""
        generator = torch.Generator().manual_seed(int(batch.sample_seeds[0]))
        noise = torch.randn(batch.target_latents.shape, generator=generator).to(batch.target_latents)
        negative = self.pairs.empty_caption()[None].to(batch.text_embeddings) if self.guidance > 1 else None
        guidance = Guidance(
            self.guidance, adapter=self.adapter_guidance, without_adapter=lambda: method.under(None)
        )
        with method.under(method.condition(batch.references)) as velocity:
            return denoise(velocity, sampler, noise, batch.scene, self.steps, guidance, negative, generator)[
                0
            ]


def spread(groups: Sequence[str], count: int) -> list[int]:
    """At most `count` pair numbers, the first ones of each group in turn."""
    queues = [[n for n, group in enumerate(groups) if group == name] for name in sorted(set(groups))]
    turns = [queue[at] for at in range(len(groups)) for queue in queues if at < len(queue)]
    return turns[:count]


def _united(measured: Sequence[PairLosses]) -> PairLosses:
    """The losses of all workers, each pair once, in the pairs' order."""
    rows = {
        int(name): row
        for part in measured
        for name, *row in zip(part.pair_ids, part.same, part.other, part.none, strict=True)
    }
    order = sorted(rows)
    same, other, none = (np.array(column) for column in zip(*(rows[n] for n in order), strict=True))
    return PairLosses(tuple(map(str, order)), same, other, none)
