"""What the fit of one video learns from: its windows, and further edited frames by themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.editing.ask import Edit
from training.batch import References, TrainingBatch
from training.methods.registry import edit_masks, edit_windows
from training.randomness import derive
from training.settings import EditSettings

# Of the steps on further edited frames each tenth is one on the video, as the released tool repeats them.
EVERY = 10


class Samples:
    """What a fit learns from, encoded once: windows of the video, and further edited frames by themselves.

    A frame's sample is a video of one frame: the original for CLIP and, with grey, as what is shown; the
    edited one as target.
    """

    def __init__(self, backbone: Any, asked: Edit, settings: EditSettings) -> None:
        self.settings = settings
        self._backbone = backbone
        text = backbone.encode_text([told(settings.token, asked.caption)])
        self.windows = [
            self._sample(asked.frames[part], _first_kept(asked, part), asked.frames[part], text)
            for part in edit_windows(len(asked.frames), settings.window)
        ]
        prompt = backbone.encode_text([told(settings.token, asked.request.prompt)]) if asked.also else None
        self.also = [
            self._sample(asked.frames[n : n + 1], ~asked.changed[n : n + 1], asked.also[n][None], prompt)
            for n in sorted(asked.also)
        ]

    def of(self, step: int) -> TrainingBatch:
        """The sample of a step, with a seed of its own."""
        begun = step - self.settings.steps
        if begun < 0:
            batch = self.windows[step % len(self.windows)]
        elif begun % EVERY == 0:
            batch = self.windows[begun // EVERY % len(self.windows)]
        else:
            batch = self.also[(begun - begun // EVERY - 1) % len(self.also)]
        seed = derive(self.settings.seed, f"edit {step}")
        return replace(batch, sample_seeds=torch.tensor([seed]))

    def _sample(
        self, frames: np.ndarray, kept: np.ndarray, target: np.ndarray, text: Tensor
    ) -> TrainingBatch:
        masks = edit_masks()
        latents, _ = self._backbone.encode_video(target)
        shown = self._backbone.encode_shown(masks.greyed(frames, kept), frames[0])
        return TrainingBatch(
            target_latents=latents[None],
            references=References(("",)),
            first_frame_latents=shown[None],
            text_embeddings=text,
            sample_seeds=torch.zeros(1, dtype=torch.int64),
            pair_ids=["video"],
            kept=masks.folded(kept, *latents.shape[2:])[None].to(latents),
        )


def fit_steps(settings: EditSettings, also: int) -> int:
    """Steps of a fit: on the video, and where there are further edited frames on those and the video."""
    further = settings.also_steps + -(-settings.also_steps // (EVERY - 1)) if also else 0
    return settings.steps + further


def told(token: str, text: str) -> str:
    """A text under the token that stands for the video."""
    return f"{token} {text}".strip()


def _first_kept(asked: Edit, part: slice) -> np.ndarray:
    """What of a window is preserved: of its first frame everything."""
    kept: np.ndarray = asked.kept[part].copy()
    kept[0] = True
    return kept
