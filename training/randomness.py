"""Randomness of a sample: a pure function of the sample's seed and of what it is drawn for.

Drawn on the CPU in fp32 by a counter-based generator (Philox) keyed with 128 bits, so a sample's noise does
not depend on the batch it is in, the worker that holds it, the device or the order of the draws. (torch's CPU
generator keeps 32 bits of a seed: too few to tell the samples of a long run apart.)
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from training.errors import TrainingError


@contextmanager
def initial_values(seed: int) -> Iterator[None]:
    """What is drawn inside on the CPU depends on `seed` alone; no global generator is moved, a GPU's neither.

    (`torch.manual_seed` seeds the GPUs' generators as well, and a fork of the CPU's does not put them back.)
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose ("noise", "timestep", "posterior", …) for one sample."""
    key = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))


def normal(seed: int, purpose: str, shape: Sequence[int]) -> Tensor:
    """Standard normal values, fp32 on the CPU."""
    return torch.from_numpy(stream(seed, purpose).standard_normal(tuple(shape), dtype=np.float32))


def integer(seed: int, purpose: str, below: int) -> int:
    """One integer, uniform in 0 .. below - 1."""
    return int(stream(seed, purpose).integers(below))


def happens(seed: int, purpose: str, probability: float) -> bool:
    """True for a share `probability` of the seeds: whether a sample's caption is dropped, for one."""
    return bool(stream(seed, purpose).random() < probability)


def derive(seed: int, purpose: str) -> int:
    """Another seed (63 bits), independent of `seed`: what a second draw of the same sample uses."""
    return int(stream(seed, purpose).integers(2**63 - 1))


def normal_per_sample(seeds: Tensor, purpose: str, shape: Sequence[int]) -> Tensor:
    """One draw per seed, stacked: fp32 [B, *shape] on the CPU.

    Raises:
        TrainingError: the seeds are not a one-dimensional integer tensor.
    """
    if seeds.ndim != 1 or seeds.is_floating_point():
        raise TrainingError(
            f"Sample seeds must be integers of shape [B], not {seeds.dtype} {tuple(seeds.shape)}."
        )
    return torch.stack([normal(seed, purpose, shape) for seed in seeds.tolist()])


def noise_of(seeds: Tensor, shape: Sequence[int]) -> Tensor:
    """The noise that samples of these seeds are trained with: fp32 [B, *shape] on the CPU."""
    return normal_per_sample(seeds, "noise", shape)


def draw_posterior(mean: Tensor, std: Tensor, seed: int) -> Tensor:
    """One sample of the VAE's posterior, N(mean, std²), in the dtype and on the device of `mean`."""
    noise = normal(seed, "posterior", mean.shape).to(mean.device)
    return (mean.float() + std.float() * noise).to(mean.dtype)
