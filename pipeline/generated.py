"""One generated clip: still latents, or frames that can be written with the LoRA that made them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.adapters import Adapter, Reference
from pipeline.video.transcode import encode_video
from training.backbones.base import Backbone
from training.files import lora_beside, write_atomically, written
from training.methods.lightlora.export import save_lora
from training.metrics import CLIPS


@dataclass(frozen=True)
class GeneratedClip:
    """One generated video and what it was made from.

    Attributes:
        frames: uint8 [n, H, W, 3].
        reference: the effect that was asked for, the first of several; None where an adapter was given.
        first_frame: uint8 [H, W, 3].
        adapter: what the reference became.
        notes: sentences that a person should know who looks at it.
    """

    frames: np.ndarray
    fps: int
    reference: Reference | None
    first_frame: np.ndarray
    adapter: Adapter
    notes: tuple[str, ...] = ()

    def save(self, path: Path | str, lora: bool = True) -> tuple[Path, Path | None]:
        """Write the mp4 and, where `lora` and the method has one, its LoRA beside it; returns both paths.

        What the clip comes from (`Adapter.facts`) is JSON in both: the video's comment, the LoRA's header.
        Neither appears where the other cannot be written.
        """
        path = Path(path)
        lineage = json.dumps(self.adapter.facts, sort_keys=True)
        video = encode_video(self.frames, self.fps, comment=lineage)
        if self.adapter.lora is None or not lora:
            write_atomically(path, video)
            return path, None
        with written(path) as partial, written(lora_beside(path)) as beside:
            partial.write_bytes(video)
            save_lora(beside, self.adapter.lora, self.adapter.facts)
        return path, lora_beside(path)


@dataclass(frozen=True)
class Draft:
    """A clip that is denoised and not yet decoded: `develop` may run beside the next one's denoising.

    Attributes:
        latents: [F, C, h, w], where they were denoised.
        ready: on a GPU, the moment from which the latents are there.
    """

    backbone: Backbone
    latents: torch.Tensor
    fps: int
    reference: Reference | None
    first_frame: np.ndarray
    adapter: Adapter
    notes: tuple[str, ...]
    ready: torch.cuda.Event | None = None

    def develop(self) -> GeneratedClip:
        """Decode it; on a GPU in a queue of its own, so that it waits for nothing that was begun since."""
        if self.ready is None:
            frames = self.backbone.decode(self.latents)
        else:
            queue = torch.cuda.Stream(self.latents.device)
            queue.wait_event(self.ready)
            with torch.cuda.stream(queue):
                frames = self.backbone.decode(self.latents)
            self.latents.record_stream(queue)
        CLIPS.add(1, stage="generate")
        made = (self.fps, self.reference, self.first_frame, self.adapter, self.notes)
        return GeneratedClip(frames.numpy(), *made)
