"""From what was measured on a clip's pixels to a short vector.

Each block of `change.py` has a scale of its own, and its values repeat each other. So every block is taken
from its mean over many renders and brought to one length, and all of them are turned onto the directions that
tell effects apart and not scenes: linear discriminants, fitted on renders (`pipeline.pocket.directions`).
They serve the clips of any embedder.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

import training
from pipeline.embedding.change import BLOCKS
from pipeline.errors import PipelineError

SIZE = 192
SHIPPED = Path(training.__file__).parent / "pocket" / "change.safetensors"
# Mean square of what is no noise, in units of its spread over renders: below it a clip is still, or nearly.
_QUIET = 0.002
# The noise of a codec differs from frame to frame.
_NOISY = ("activity", "novelty")


class DirectionsMissing(PipelineError):
    """This checkout carries no directions, or broken ones."""


@dataclass(frozen=True)
class Directions:
    """Fitted once, fp32.

    Attributes:
        middle: mean of every measured value, all blocks in a row [M].
        spread: standard deviation of each block [blocks].
        centre: mean of what the blocks are brought to [M].
        basis: directions [M, SIZE], each as long as it counts.
    """

    middle: np.ndarray
    spread: np.ndarray
    centre: np.ndarray
    basis: np.ndarray

    def of(self, blocks: Mapping[str, np.ndarray]) -> np.ndarray:
        """fp32 [n, SIZE] of blocks [n, its size]: of length 1, and shorter where hardly anything changes."""
        found = (levelled(blocks, self.middle, self.spread) - self.centre) @ self.basis
        spreads = zip(BLOCKS, self.spread.tolist(), strict=True)
        steady = [(name, each) for name, each in spreads if name not in _NOISY]
        loud = np.mean([np.square(blocks[name] / each).mean(1) for name, each in steady], axis=0)
        return (_unit(found) * np.sqrt(loud / (loud + _QUIET))[:, None]).astype(np.float32)


def levelled(blocks: Mapping[str, np.ndarray], middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """All blocks [n, its size] in a row [n, M], each from its mean and of length 1."""
    parts, start = [], 0
    for (name, size), each in zip(BLOCKS.items(), spread.tolist(), strict=True):
        part = (blocks[name] - middle[start : start + size]) / each
        parts.append(_unit(part))
        start += size
    return np.concatenate(parts, axis=1)


@cache
def shipped() -> Directions:
    """The directions that ship with the project.

    Raises:
        DirectionsMissing: their file is missing or broken.
    """
    try:
        stored = {name: value.astype(np.float32) for name, value in load_file(SHIPPED).items()}
        return Directions(**stored)
    except (OSError, SafetensorError, TypeError) as error:
        raise DirectionsMissing(
            f"{SHIPPED} cannot be read ({error}): take it from the repository again, "
            "or make it with `make pocket`."
        ) from error


def fingerprint() -> str:
    """Of the shipped directions: vectors that were made with others are never compared."""
    shipped()
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:16]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
