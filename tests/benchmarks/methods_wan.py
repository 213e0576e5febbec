"""LoRA-Edit on a Wan for the comparison of methods: every edit fitted and made, and the Wan left frozen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.edit import EditingSettings, Editor
from pipeline.editing.ask import Edit
from tests.benchmarks.methods_cost import clock, held_bytes, peak_bytes, trained_bytes
from tests.benchmarks.methods_edits import Case
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.methods.base import device_of
from training.methods.registry import edit_masks, editing
from training.settings import EditSettings

TRIED = 3  # steps of a fit that tell how long one takes, after a first one


@dataclass(frozen=True)
class Made:
    """The clips of one way, [n, H, W, 3] each, and what one of them cost.

    Attributes:
        steps: of each fit; 0 without one.
        adapt: seconds of a fit, mean; `generate`: of denoising and decoding.
        held: bytes while a clip is generated, weights included; `stored`: of one LoRA, 0 without one.
    """

    clips: list[np.ndarray]
    steps: int
    adapt: float
    generate: float
    held: int
    stored: int


@dataclass(frozen=True)
class OnWan:
    """A Wan of the benchmark's geometry, in a folder of its own for catalogue and LoRAs."""

    backbone: BackboneSettings
    edit: EditSettings
    work: Path

    def steps_in(self, case: Case, seconds: float) -> int:
        """Steps of a fit that take so many seconds."""
        stamps: list[float] = []
        editor = self._editor("tried", steps=1 + TRIED, sampling_steps=1)
        device = device_of(editor.method)
        editor.make(case.asked(), lambda *_: stamps.append(clock(device)))
        return max(1, round(seconds * TRIED / (stamps[TRIED] - stamps[0])))

    def fitted(self, cases: Sequence[Case], steps: int) -> Made:
        """LoRA-Edit: each clip under its own LoRA, its mask shown."""
        return self._made([case.asked() for case in cases], steps)

    def frozen(self, cases: Sequence[Case], masked: bool) -> Made:
        """Without a LoRA: the mask shown too, or the edited first frame alone."""
        return self._made([case.asked(masked) for case in cases], 0)

    def put_back(self, cases: Sequence[Case], made: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Clips with what their masks preserve put back, as `video2lora edit` does it."""
        masks, found = edit_masks(), []
        for case, clip in zip(cases, made, strict=True):
            shown = case.frames.copy()
            shown[0] = case.edited
            found.append(masks.put_back(clip, shown, case.asked().kept))
        return found

    def reconstructed(self, cases: Sequence[Case]) -> list[np.ndarray]:
        """The inputs through the VAE: what no edit can be nearer to them than."""
        backbone = load_backbone(self.backbone, ["vae"])
        return [backbone.decode(backbone.encode_video(case.frames)[0]).numpy() for case in cases]

    def _made(self, asked: Sequence[Edit], steps: int) -> Made:
        editor = self._editor("made", steps=steps)
        device = device_of(editor.method)
        clips, adapt, generate = [], 0.0, 0.0
        for each in asked:
            stamps: list[float] = []
            began = clock(device)
            made = editor.make(each, lambda *_, to=stamps: to.append(clock(device)))
            fitted = stamps[steps - 1] if steps else began
            adapt, generate = adapt + fitted - began, generate + clock(device) - fitted
            clips.append(made.frames)
        # The last one again: its fit is there, so it is generated alone.
        peak = peak_bytes(lambda: editor.make(asked[-1]), device)
        backbone = editor.backbone
        weights = held_bytes(editor.method, backbone.vae)
        stored = trained_bytes(editor.method) if steps else 0
        return Made(clips, steps, adapt / len(asked), generate / len(asked), weights + peak, stored)

    def _editor(self, name: str, **changes: int) -> Editor:
        settings = self.edit.model_copy(update=changes)
        folder = self.work / f"{name}-{settings.steps}"
        spec = replace(
            ClipSpec(), **self.backbone.model_dump(include={"num_frames", "height", "width"}), fps=8
        )
        catalog = Catalog.create(str(folder / "catalog"), spec)
        return Editor(
            catalog, folder, EditingSettings(self.backbone, editing(settings.rank), settings, {}, "")
        )
