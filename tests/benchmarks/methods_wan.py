"""LoRA-Edit on a Wan for the comparison of methods: every edit fitted and made, and the Wan left frozen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.edit import EditedVideo, EditingSettings, Editor
from pipeline.editing.ask import Edit
from tests.benchmarks.methods_cost import clock, held_bytes, peak_bytes, trained_bytes
from tests.benchmarks.methods_edits import Case
from tests.benchmarks.methods_kept import Kept
from training.backbones.settings import BackboneSettings
from training.methods.base import device_of
from training.methods.registry import edit_masks, editing
from training.pretrain.precision import computing
from training.progress import Progress
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
    """A Wan of the benchmark's geometry, in a folder of its own for catalogue and LoRAs; `kept` are the
    clips that were made."""

    backbone: BackboneSettings
    edit: EditSettings
    work: Path
    kept: Kept

    def steps_in(self, case: Case, seconds: float) -> int:
        """Steps of a fit that take so many seconds; the first answer stands."""
        return self.kept.facts(lambda: {"steps": self._tried(case, seconds)}, "steps", seconds)["steps"]

    def fitted(self, cases: Sequence[Case], steps: int) -> Made:
        """LoRA-Edit: each clip under its own LoRA, its mask shown."""
        return self._made([case.asked() for case in cases], steps)

    def frozen(self, cases: Sequence[Case]) -> Made:
        """Without a LoRA, the same mask shown."""
        return self._made([case.asked() for case in cases], 0)

    def put_back(self, cases: Sequence[Case], made: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Clips with what their masks preserve put back, as `video2lora edit` does it."""
        masks, found = edit_masks(), []
        for case, clip in zip(cases, made, strict=True):
            shown = case.frames.copy()
            shown[0] = case.edited
            found.append(masks.put_back(clip, shown, case.asked().kept))
        return found

    def _tried(self, case: Case, seconds: float) -> int:
        stamps: list[float] = []
        editor = self._editor("tried", steps=1 + TRIED, sampling_steps=1)
        device = device_of(editor.method)
        _make(editor, case.asked(), lambda *_: stamps.append(clock(device)))
        return max(1, round(seconds * TRIED / (stamps[TRIED] - stamps[0])))

    def _made(self, asked: Sequence[Edit], steps: int) -> Made:
        editor = self._editor("made", steps=steps)
        whole = [
            self.kept.arrays(lambda each=each: self._one(editor, each), "edit", steps, number)
            for number, each in enumerate(asked)
        ]
        costs = self.kept.facts(lambda: self._costs(editor, asked[-1]), "costs of edits", steps)
        adapt, generate = (sum(float(each[name]) for each in whole) for name in ("adapt", "generate"))
        clips = [each["clip"] for each in whole]
        return Made(clips, steps, adapt / len(asked), generate / len(asked), **costs)

    def _one(self, editor: Editor, asked: Edit) -> dict[str, Any]:
        """A clip, and the seconds of its fit and of denoising and decoding."""
        steps, device = editor.settings.edit.steps, device_of(editor.method)
        stamps: list[float] = []
        began = clock(device)
        made = _make(editor, asked, lambda *_: stamps.append(clock(device)))
        fitted = stamps[steps - 1] if steps else began
        return {"clip": made.frames, "adapt": fitted - began, "generate": clock(device) - fitted}

    def _costs(self, editor: Editor, asked: Edit) -> dict[str, int]:
        _make(editor, asked)  # fitted, where it is not yet; so that the next time it is generated alone
        peak = peak_bytes(lambda: _make(editor, asked), device_of(editor.method))
        weights = held_bytes(editor.method, editor.backbone.vae)
        stored = trained_bytes(editor.method) if editor.settings.edit.steps else 0
        return {"held": weights + peak, "stored": stored}

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


def _make(editor: Editor, asked: Edit, progress: Progress | None = None) -> EditedVideo:
    """In the precision in which all other methods are compared."""
    with computing(device_of(editor.method), "bfloat16"):
        return editor.make(asked, progress)
