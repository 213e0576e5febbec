"""The transfer gap: does an adapter of the right category denoise better than one of another category?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from training.batch import TrainingBatch
from training.errors import BadBatch
from training.methods.base import Condition, Method
from training.randomness import derive


@dataclass(frozen=True)
class PairLosses:
    """Losses of held-out pairs, one entry per pair: means over the same draws of noise and timestep."""

    pair_ids: tuple[str, ...]
    same: np.ndarray
    other: np.ndarray
    none: np.ndarray


@dataclass(frozen=True)
class TransferGap:
    """The gap (b - a) / b with a bootstrap interval over pairs; a, b, c are the mean losses under the adapter
    of a reference of the same category, of another category, and under no adapter."""

    gap: float
    low: float
    high: float
    loss_same: float
    loss_other: float
    loss_none: float
    pairs: int

    def to_dict(self) -> dict[str, float | int]:
        return asdict(self)


@torch.no_grad()
def pair_losses(
    method: Method,
    batches: Iterable[tuple[TrainingBatch, TrainingBatch]],
    draws: int = 4,
    none: Mapping[str, float] | None = None,
    condition: Callable[[TrainingBatch], Condition] | None = None,
) -> PairLosses:
    """Denoise held-out targets three times with the same noise and timestep.

    Args:
        batches: pairs of batches with the same targets and seeds; the first carries references of the
            targets' own categories, the second references of other categories.
        draws: noises and timesteps per pair. More of them make the figures steadier, not the pairs more.
        none: losses under no adapter by pair id, where they are known: nothing that trains changes them.

        condition: makes of a batch what its targets are denoised under (polished adapters, for one); None:
            what the method makes of its references.

    Raises:
        BadBatch: two batches whose targets or seeds differ, or no batch at all.
    """
    made = condition or (lambda batch: method.condition(batch.references))
    ids: list[str] = []
    rows: list[np.ndarray] = []
    for same, other in batches:
        if not (
            torch.equal(same.sample_seeds, other.sample_seeds)
            and torch.equal(same.target_latents, other.target_latents)
        ):
            raise BadBatch(
                "The two batches of a transfer gap need the same targets and seeds, in the same order."
            )
        conditions = [made(batch) for batch in (same, other)]
        known = none is not None and all(name in none for name in same.pair_ids)
        total = np.zeros((3, len(same)))
        for draw in range(draws):
            seeds = torch.tensor([derive(seed, f"draw-{draw}") for seed in same.sample_seeds.tolist()])
            batch = replace(same, sample_seeds=seeds)
            for row, condition in enumerate(conditions if known else (*conditions, None)):
                total[row] += method.sample_losses(batch, condition).double().cpu().numpy()
        total /= draws
        if known:
            total[2] = [none[name] for name in same.pair_ids]
        ids += same.pair_ids
        rows.append(total)
    if not rows:
        raise BadBatch("The transfer gap needs at least one held-out pair: none were given.")
    same_losses, other_losses, none_losses = np.concatenate(rows, axis=1)
    return PairLosses(tuple(ids), same_losses, other_losses, none_losses)


def transfer_gap(
    losses: PairLosses,
    chosen: Sequence[int] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> TransferGap:
    """Gap of the pairs at `chosen` (all by default; seen and unseen categories, say), with its interval."""
    index = np.arange(len(losses.pair_ids)) if chosen is None else np.asarray(chosen, dtype=int)
    if not len(index):
        raise BadBatch("The transfer gap needs at least one held-out pair: none were chosen.")
    same, other = losses.same[index], losses.other[index]
    picks = np.random.default_rng(seed).integers(len(index), size=(resamples, len(index)))
    spread = 1 - same[picks].mean(axis=1) / other[picks].mean(axis=1)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return TransferGap(
        gap=float(1 - same.mean() / other.mean()),
        low=float(low),
        high=float(high),
        loss_same=float(same.mean()),
        loss_other=float(other.mean()),
        loss_none=float(losses.none[index].mean()),
        pairs=len(index),
    )
