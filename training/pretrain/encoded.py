"""Clips encoded once by a VAE, in files that a killed run goes on from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.files import written
from training.pretrain.cogvideox.encoded import encode as encode_cogvideox
from training.pretrain.precision import Precision
from training.pretrain.vae import VAE
from training.progress import Progress

SHARD = 48
# Of a VAE, clips [B, 3, n, H, W], their numbers and a precision: "mean", "std" and "first", in bf16.
Encode = Callable[[VAE, Tensor, Sequence[int], Precision], dict[str, Tensor]]


class EncodedClips:
    """Posteriors (mean and std [n, F, C, h, w], scaled) of numbered clips and the latents of their first
    frames as the family's DiT takes them ([n, C, h, w], Wan's as long as the clip), held as bf16, written in
    shards of `SHARD` clips.

    `precision` is that of the encoding; another one needs another folder.
    """

    def __init__(
        self, folder: Path, precision: Precision = "bfloat16", encode: Encode = encode_cogvideox
    ) -> None:
        self.folder = folder
        self.precision: Precision = precision
        self.encode = encode
        self.mean = self.std = self.first = torch.empty(0)

    def __len__(self) -> int:
        return len(self.mean)

    def fill(
        self,
        vae: VAE,
        clips: Callable[[Sequence[int]], Tensor],
        count: int,
        progress: Progress | None = None,
        batch: int = 4,
    ) -> Self:
        """Encode what is not yet on disk and load everything to the VAE's device.

        Args:
            vae: its scale is set; another VAE needs another folder.
            clips: some clips' numbers, from 0 → their frames [B, 3, n, H, W] in [-1, 1].
            count: how many there are.
            batch: clips that are encoded at a time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in range(0, count, SHARD):
            numbers = range(start, min(start + SHARD, count))
            # With its size: the last shard of fewer clips is not the one of more.
            path = self.folder / f"{start:06d}-{len(numbers):02d}.safetensors"
            if not path.exists():
                parts = [numbers[at : at + batch] for at in range(0, len(numbers), batch)]
                rows = [self.encode(vae, clips(part), part, self.precision) for part in parts]
                tensors = {name: torch.cat([row[name] for row in rows]).cpu() for name in rows[0]}
                with written(path) as file:
                    save_file(tensors, file)
            shards.append(load_file(path, device=str(vae.device)))
            if progress is not None:
                progress(numbers[-1] + 1, count, {})
        self.mean, self.std, self.first = (
            torch.cat([shard[name] for shard in shards]) for name in ("mean", "std", "first")
        )
        return self

    def draw(self, numbers: Tensor | Sequence[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some clips as targets, drawn from their posteriors by a generator of their device, and their first
        frames, in fp32."""
        chosen = torch.as_tensor(numbers, device=self.mean.device)
        mean, std = self.mean[chosen].float(), self.std[chosen].float()
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + std * noise, self.first[chosen].float()
