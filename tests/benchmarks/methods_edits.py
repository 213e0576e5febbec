"""Edits of rendered clips for the comparison of methods: the subject gets another colour in the first frame.

A case is a clip whose background holds still, its first frame as the renderer draws it in another colour, and
a mask of where the two clips differ. What is made of it is measured by

- *edited*: the mean cosine of CLIP's vectors of the frames with that of the edited first frame;
- *input*: the same of each frame with the input's frame at that time;
- *background*: PSNR in dB against the input, of all pixels that the mask preserves, 100 at most;
- *reach*: of the change that the edit makes to the mean colour inside the mask of the first frame, the share
  that the mean colour inside the mask of the later ones shows, their mean. 1: all of it; 0: the input again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.editing.ask import Edit, EditRequest
from pipeline.embedding.embedder import Embedder
from pipeline.samples.render import clip_times, render_frames
from pipeline.samples.scene import COLOURS, make_scene
from training.backbones.base import Backbone
from training.batch import References
from training.generate import generate
from training.methods.base import Condition, Method
from training.methods.own_loss import OwnClips
from training.methods.registry import edit_masks
from training.polish import polish
from training.pretrain.precision import computing
from training.settings import PolishSettings

# Of the backbone's categories those in which a subject moves before a background that does not.
EFFECTS = ("inflate", "levitate", "spin", "melt", "squish", "bounce", "wobble", "deflate")
MOST = 100.0  # dB: that of clips which are the same, so that means are numbers
MEASURES = ("edited", "input", "background", "reach")


@dataclass(frozen=True)
class Case:
    """An edit of a rendered clip: uint8 frames [n, H, W, 3], edited first frame, bool mask [n, H, W]."""

    effect: str
    frames: np.ndarray
    edited: np.ndarray
    changed: np.ndarray
    caption: str
    prompt: str

    def asked(self, masked: bool = True) -> Edit:
        """As `pipeline.edit.Editor` takes it; without a mask the first frame alone is preserved."""
        masks = edit_masks()
        kept = masks.preserved(self.changed) if masked else masks.case("first frame", self.changed)
        return Edit(
            EditRequest("a render", self.prompt),
            self.frames,
            self.edited,
            kept,
            self.changed if masked else np.ones_like(self.changed),
            {},
            self.caption,
            None,
        )


def cases(count: int, first: int, shape: tuple[int, int, int]) -> list[Case]:
    """`count` edits of clips [n, H, W] of scenes from number `first` on, the effects in turn."""
    return [_case(EFFECTS[n % len(EFFECTS)], first + n, shape) for n in range(count)]


def _case(effect: str, seed: int, shape: tuple[int, int, int]) -> Case:
    scene = make_scene(seed)
    names = [name for name in COLOURS if name != scene.second_colour]
    opposite = names[(names.index(scene.colour) + len(names) // 2) % len(names)]
    other = replace(scene, colour=opposite)
    count, height, width = shape
    given, wanted = (
        np.stack(list(render_frames(effect, seed, clip_times(count), height, width, each)))
        for each in (scene, other)
    )
    return Case(effect, given, wanted[0], differing(given, wanted), scene.caption, other.caption)


def differing(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Boxes of where two clips [n, H, W, 3] differ, bool [n, H, W]."""
    apart = (np.abs(given.astype(int) - wanted).max(axis=3) > 24).astype(np.uint8)
    whole = np.stack([cv2.morphologyEx(each, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) for each in apart])
    return edit_masks().boxed(whole.astype(bool))


def measured(case: Case, made: np.ndarray, look: Embedder) -> dict[str, float]:
    """MEASURES of a clip [n, H, W, 3] that was made of a case, and `reach_at_end`, of its last quarter."""
    edited, given, found = look.frame_vectors([case.edited[None], case.frames, made])
    reaches = reach(case, made)
    return {
        "edited": float((found @ edited[0]).mean()),
        "input": float((found * given).sum(dim=1).mean()),
        "background": min(MOST, psnr(case.frames, made, ~case.changed)),
        "reach": float(reaches.mean()),
        "reach_at_end": float(reaches[-len(reaches) // 4 :].mean()),
    }


def psnr(given: np.ndarray, made: np.ndarray, where: np.ndarray) -> float:
    """dB between two clips uint8 [n, H, W, 3] at the pixels `where` [n, H, W]; inf where they are equal."""
    error = np.square(given.astype(float) - made)[where].mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def reach(case: Case, made: np.ndarray) -> np.ndarray:
    """Of every frame after the first, the share of the edit that it shows, [n - 1]; see above."""

    def colour(frame: np.ndarray, number: int) -> np.ndarray:
        return frame[case.changed[number]].mean(axis=0)

    edit = colour(case.edited, 0) - colour(case.frames[0], 0)
    numbers = [n for n in range(1, len(made)) if case.changed[n].any()]
    moved = np.array([colour(made[n], n) - colour(case.frames[n], n) for n in numbers])
    return moved @ edit / (edit @ edit)


def mean_of(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each measure, its mean over the cases."""
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


@dataclass(frozen=True)
class InContext:
    """The edited first frame carried on by a method that reads the input as its reference."""

    backbone: Backbone
    method: Method | None
    steps: int
    guidance: float
    polished: int = 0

    def made(self, case: Case) -> np.ndarray:
        """The clip, uint8 [n, H, W, 3]."""
        with computing(next(self.backbone.dit.module.parameters()).device, "bfloat16"):
            condition = self._condition(case)
            return generate(
                self.backbone,
                self.method,
                condition,
                case.edited,
                case.prompt,
                self.steps,
                1.0,
                adapter_guidance=self.guidance if condition is not None else 1.0,
            ).numpy()

    def _condition(self, case: Case) -> Condition | None:
        """Of the input, polished on it where that is asked for."""
        if self.method is None:
            return None
        latents = self.backbone.encode_video(case.frames)[0][None].float()
        first = self.backbone.encode_first_frame(case.frames[0]).float()
        text = self.backbone.encode_text([case.caption])
        whole = torch.ones_like(latents[:, :, 0], dtype=torch.bool)
        read = References((case.effect,), latents, whole, first[None], text[None], padded=False)
        with torch.no_grad():
            condition = self.method.condition(read)
        if not self.polished:
            return condition
        own = OwnClips.whole(latents, first, text)
        settings = PolishSettings(steps=self.polished)
        return polish(self.method, cast(Tensor, condition), own, settings).condition
