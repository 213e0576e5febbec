"""Procedural clips as pixels, rendered once by all cores into a folder that a killed run goes on from."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.samples.draw import draw_clip
from pipeline.samples.scene import make_scene
from training.files import written
from training.progress import Progress

SHARD = 48


class Renders:
    """The clips of `draw_clip` with some numbers.

    Args:
        folder: holds shards of `SHARD` clips; another list of numbers, categories or size needs another one.
        numbers: of the clips.
        categories: that `draw_clip` walks through.
        shape: frames, height and width.
    """

    def __init__(
        self, folder: Path, numbers: Sequence[int], categories: Sequence[str], shape: tuple[int, int, int]
    ) -> None:
        self.folder, self.numbers, self.categories, self.shape = folder, numbers, categories, shape
        self._shards: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def captions(self) -> list[str]:
        """What each clip's scene is, without its effect."""
        return [make_scene(number).caption for number in self.numbers]

    def fill(self, progress: Progress | None = None, workers: int | None = None) -> None:
        """Render what is not there yet, by as many processes as there are cores."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {
            self._path(start): list(self.numbers[start : start + SHARD])
            for start in range(0, len(self), SHARD)
        }
        missing = {path: numbers for path, numbers in parts.items() if not path.exists()}
        done = len(self) - sum(map(len, missing.values()))
        if missing:
            count = min(workers or os.cpu_count() or 1, len(missing))
            # Fresh processes: a fork of one that holds a GPU or threads does not work.
            with ProcessPoolExecutor(count, get_context("spawn")) as pool:
                tasks = {
                    pool.submit(_render, path, numbers, tuple(self.categories), self.shape): len(numbers)
                    for path, numbers in missing.items()
                }
                for task in as_completed(tasks):
                    task.result()
                    done += tasks[task]
                    if progress is not None:
                        progress(done, len(self), {})
        # Copy on write: torch wants memory that it may write to, and nobody does.
        self._shards = [torch.from_numpy(np.load(path, mmap_mode="c")) for path in parts]

    def to(self, device: torch.device) -> "Renders":
        """Hold the clips there; on a CPU they stay in their files."""
        if device.type != "cpu":
            self._shards = [shard.to(device) for shard in self._shards]
        return self

    def clip(self, place: int) -> Tensor:
        """The clip at a place in `numbers`: uint8 [n, H, W, 3], not a copy."""
        return self._shards[place // SHARD][place % SHARD]

    def signed(self, places: Sequence[int]) -> Tensor:
        """Whole clips [B, 3, n, H, W] in [-1, 1]."""
        return signed(torch.stack([self.clip(place) for place in places]))

    def _path(self, start: int) -> Path:
        # With its size: the last shard of fewer clips is not the one of more.
        return self.folder / f"{start:06d}-{min(SHARD, len(self) - start):02d}.npy"


def signed(pixels: Tensor) -> Tensor:
    """uint8 [B, n, H, W, 3] → [B, 3, n, H, W] in [-1, 1]."""
    return pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _render(path: Path, numbers: list[int], categories: tuple[str, ...], shape: tuple[int, int, int]) -> None:
    clips = np.stack([draw_clip(number, *shape, effects=categories)[0] for number in numbers])
    with written(path) as partial, partial.open("wb") as file:
        np.save(file, clips)
