"""Clips encoded once by a VAE, in files that a killed run goes on from."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from safetensors.torch import load_file, save_file

from training.backbones.cogvideox.pixels import encode_image, encode_video, noised_frame
from training.batch import References, TrainingBatch
from training.files import written
from training.pretrain.precision import Precision, computing
from training.randomness import derive, draw_posterior, stream

SHARD = 48


class EncodedClips:
    """Latents and captions of numbered clips, held as bf16, written in shards of `SHARD` clips.

    `precision` is that of the encoding; another one needs another folder.
    """

    def __init__(self, folder: Path, precision: Precision = "bfloat16") -> None:
        self.folder = folder
        self.precision: Precision = precision
        self.mean = self.std = self.first = torch.empty(0)
        self.captions: list[str] = []

    def fill(
        self,
        vae: AutoencoderKLCogVideoX,
        clip_of: Callable[[int], tuple[torch.Tensor, str]],
        count: int,
        progress: Callable[[int, int | None, dict], None] | None = None,
    ) -> None:
        """Encode what is not yet on disk and load everything.

        Args:
            vae: its scale is set; another VAE needs another folder.
            clip_of: a clip's number, from 0 → its frames [3, n, H, W] in [-1, 1] and caption.
            count: how many.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in range(0, count, SHARD):
            size = min(SHARD, count - start)
            path = self._shard(start, count)
            if not path.exists():
                self._encode(vae, [clip_of(start + place) for place in range(size)], start, path)
            shards.append(load_file(path))
            if progress is not None:
                progress(start + size, count, {})
        self.mean, self.std, self.first = (
            torch.cat([shard[name] for shard in shards]) for name in ("mean", "std", "first")
        )
        for start in range(0, count, SHARD):
            text = self._shard(start, count).with_suffix(".json").read_text(encoding="utf-8")
            self.captions += json.loads(text)

    def _shard(self, start: int, count: int) -> Path:
        # With its size: the last shard of fewer clips is not the one of more.
        return self.folder / f"{start:06d}-{min(SHARD, count - start):02d}.safetensors"

    def _encode(
        self, vae: AutoencoderKLCogVideoX, part: list[tuple[torch.Tensor, str]], start: int, path: Path
    ) -> None:
        rows: dict[str, list[torch.Tensor]] = {"mean": [], "std": [], "first": []}
        with computing(vae.device, self.precision):
            for number, (frames, _) in enumerate(part, start):
                mean, std = encode_video(vae, frames.transpose(0, 1))
                noisy = noised_frame(frames[:, 0], number, 1)
                for name, value in zip(rows, (mean, std, encode_image(vae, noisy)), strict=True):
                    rows[name].append(value.to("cpu", torch.bfloat16))
        path.with_suffix(".json").write_text(json.dumps([caption for _, caption in part]), encoding="utf-8")
        with written(path) as file:
            save_file({name: torch.stack(values) for name, values in rows.items()}, file)

    def batch(self, numbers: Sequence[int] | np.ndarray, seed: int) -> tuple[TrainingBatch, list[str]]:
        """The clips as targets, their posteriors drawn; captions beside them, a tenth of them dropped.

        There are no references and the batch's text embeddings are empty: whoever trains the text encoder
        embeds.
        """
        draw = stream(seed, "encoded batch")
        seeds = [derive(seed, f"sample {place}") for place in range(len(numbers))]
        numbers = [int(number) for number in numbers]
        targets = [
            draw_posterior(self.mean[number].float(), self.std[number].float(), each)
            for number, each in zip(numbers, seeds, strict=True)
        ]
        captions = [self.captions[number] if draw.random() >= 0.1 else "" for number in numbers]
        target = torch.stack(targets)
        batch = TrainingBatch(
            target_latents=target,
            references=References(("",) * len(numbers)),
            first_frame_latents=self.first[numbers].float(),
            text_embeddings=torch.empty(0),
            sample_seeds=torch.tensor(seeds),
            pair_ids=[str(number) for number in numbers],
        )
        return batch, captions
