"""Edits of videos: a LoRA fitted to one video and kept in the catalogue, and the video made anew under it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalog.models import keep_model, model_folder
from catalog.store import Catalog
from pipeline.editing.ask import Edit, EditRequest
from pipeline.editing.samples import Samples, fit_steps, told
from pipeline.errors import BadSource
from pipeline.video.transcode import encode_video
from training.backbones.registry import load_backbone, locate_backbone
from training.backbones.settings import BackboneSettings
from training.files import lora_beside, write_atomically
from training.generate import sample_shown
from training.methods.frozen import require_family
from training.methods.lightlora.export import save_lora
from training.methods.registry import MethodSettings, build_method, edit_masks, edit_windows
from training.planning.edit import fit_table
from training.progress import Progress
from training.release import publish_tensors, read_release, take_release
from training.run.activations import checkpoint_blocks
from training.settings import EditSettings
from training.video_fit import Fitted, fit_video

STATE = "state.safetensors"


@dataclass(frozen=True)
class EditingSettings:
    """What edits are made with; `config` is the complete configuration that these are part of, as JSON."""

    backbone: BackboneSettings
    method: MethodSettings
    edit: EditSettings
    config: dict[str, Any]
    code_revision: str = ""

    def asked(self, request: EditRequest) -> str:
        """What is asked for and with which settings, as one short text."""
        settings = [each.model_dump(mode="json") for each in (self.backbone, self.method, self.edit)]
        whole = json.dumps([asdict(request), settings], sort_keys=True)
        return hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:12]


@dataclass(frozen=True)
class EditedVideo:
    """An edited video and what it was made from.

    Attributes:
        frames: uint8 [n, H, W, 3].
        loras: tensors of its LoRA, by the form of the file.
        facts: JSON, where it comes from: the video's comment and the header of the LoRA files.
    """

    frames: np.ndarray
    fps: int
    loras: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]

    def save(self, path: Path) -> dict[str, Path]:
        """Write the mp4 and its LoRA beside it, for diffusers and for ComfyUI; returns the paths."""
        write_atomically(path, encode_video(self.frames, self.fps, comment=json.dumps(self.facts)))
        written = {"video": path}
        for form, tensors in self.loras.items():
            file = lora_of(path, form)
            save_lora(file, tensors, self.facts)
            written[form] = file
        return written


def lora_of(video: Path, form: str) -> Path:
    """Where the LoRA of an edited video lies."""
    return lora_beside(video) if form == "diffusers" else video.with_suffix(f".{form}.safetensors")


class Editor:
    """A backbone and the method that edits with it, loaded once for any number of edits.

    Args:
        catalog: where the LoRAs are kept.
        work: the working directory: `models/` for LoRAs, `edits/` for fits that are not done.

    Raises:
        BadMethodSettings, WeightsUnreachable: another family of backbones, or weights that are not there.
    """

    def __init__(self, catalog: Catalog, work: Path, settings: EditingSettings) -> None:
        require_editing(catalog, settings)
        self.catalog, self.work, self.settings = catalog, work, settings
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.backbone = load_backbone(settings.backbone, device=device)
        method = build_method(settings.method, self.backbone.dit, seed=settings.edit.seed)
        self.method = method.to(device)
        self._initial = {name: value.clone() for name, value in self.method.trainable_state().items()}

    def make(self, asked: Edit, progress: Progress | None = None) -> EditedVideo:
        """Fit the video's LoRA, or take the one that was fitted to it, and make the video anew.

        A fit that was interrupted goes on from its last saved state. Another edited first frame or prompt
        needs no other fit, unless there are further edited frames.

        Args:
            progress: called after each step of the fit and of denoising.

        Raises:
            BadSource: no edited first frame.
            StateMismatch: a LoRA file that is none, or of other layers.
            CannotFit: see `training.video_fit.fit_video`.
        """
        if asked.edited is None:
            raise BadSource("Nothing was edited: name the video's first frame as it shall be, --first-frame.")
        settings = self.settings.edit
        steps = 0 if asked.request.lora else fit_steps(settings, len(asked.also))
        every = steps + settings.sampling_steps
        fit_progress, sample_progress = _share(progress, 0, every), _share(progress, steps, every)
        if asked.request.lora:
            self.method.load_lora(Path(asked.request.lora))
            lora = {"model_id": f"the file {Path(asked.request.lora).name}"}
        else:
            fit_id = self.fit_id(asked)
            row = self._known(fit_id)
            if row is None:
                row = self._fit(fit_id, asked, steps, fit_progress)
            lora = {"model_id": row["model_id"], "fit": fit_id}
        frames, background = self._sampled(asked, sample_progress)
        facts = self._facts(asked) | lora | background | {"asked": self.settings.asked(asked.request)}
        condition = self.method.condition()
        loras = {form: self.method.export(condition, form) for form in self.method.forms}
        return EditedVideo(frames, self.catalog.spec.fps, loras, facts)

    def fit_id(self, asked: Edit) -> str:
        """What a fit is, by all that decides its LoRA: the same request is the same fit."""
        settings = self.settings.edit
        decisive = ("steps", "also_steps", "lr", "window", "token", "seed")
        facts = {
            "pixels": asked.digest(),
            "caption": asked.caption,
            "prompt": asked.request.prompt if asked.also else None,
            "settings": settings.model_dump(include=set(decisive)),
            "method": self.settings.method.model_dump(mode="json"),
            "transformer": self.backbone.transformer_id,
            "encoder": self.backbone.encoder_id,
        }
        return f"fit-{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]}"

    def _known(self, fit_id: str) -> dict[str, Any] | None:
        """The row of a LoRA that was fitted before, its tensors taken; None where there is none."""
        rows = self.catalog.scan("models", ["model_id", "run_id", "path"]).to_pylist()
        found = next((row for row in rows if row["run_id"] == fit_id), None)
        if found is not None:
            folder = model_folder(self.catalog, found["path"], self.work / "models")
            take_release(read_release(folder), self.method)
        return found

    def _fit(self, fit_id: str, asked: Edit, steps: int, progress: Progress | None) -> dict[str, Any]:
        samples = Samples(self.backbone, asked, self.settings.edit)
        state = self.work / "edits" / fit_id / STATE
        state.parent.mkdir(parents=True, exist_ok=True)
        self.method.load_trainable_state(self._initial)
        checkpoint_blocks(self.method.dit, self.settings.edit.activation_checkpointing)
        try:
            fitted = fit_video(self.method, samples.of, steps, self.settings.edit, state, progress)
        finally:
            checkpoint_blocks(self.method.dit, "none")
        row = self._keep(fit_id, asked, fitted)
        state.unlink(missing_ok=True)
        state.parent.rmdir()
        return row

    def _keep(self, fit_id: str, asked: Edit, fitted: Fitted) -> dict[str, Any]:
        """Make the LoRA's folder and its row, lineage included."""
        facts = {
            "method": self.settings.method.model_dump(mode="json"),
            "backbone": self.settings.backbone.model_dump(mode="json"),
            "transformer": self.backbone.transformer_id,
            "encoder_id": self.backbone.encoder_id,
            "run_id": fit_id,
            "edit": self._facts(asked),
        }
        state = self.method.trainable_state()
        release = publish_tensors(state, self.work / "models", torch.bfloat16, facts)
        # What is kept is what the video is made with, now and the next time.
        take_release(release, self.method)
        begin, end = fitted.means()
        row = {
            "model_id": release.model_id,
            "run_id": fit_id,
            "method": self.settings.method.kind,
            "path": keep_model(self.catalog, release.path),
            "config": self.settings.config
            | {"edited": self._facts(asked), "fitted_to": [asked.clip_id] if asked.clip_id else []},
            "code_revision": self.settings.code_revision,
            "metrics": {
                "steps": len(fitted.losses),
                "resumed_from": fitted.resumed_from,
                "loss_begin": begin,
                "loss_end": end,
            },
            "bytes": release.bytes,
            "created_at": datetime.now(UTC),
        }
        self.catalog.upsert("models", [row])
        return row

    def _sampled(self, asked: Edit, progress: Progress | None) -> tuple[np.ndarray, dict[str, Any]]:
        """The video made anew: frame 0 of what is shown is the edited one. And how near the model itself came
        to what it was to preserve, and whether that was put back."""
        settings, masks = self.settings.edit, edit_masks()
        assert asked.edited is not None
        shown = asked.frames.copy()
        shown[0] = asked.edited
        latents = sample_shown(
            self.backbone,
            self.method,
            self.method.condition(),
            self.backbone.encode_shown(masks.greyed(shown, asked.kept), asked.edited),
            told(settings.token, asked.request.prompt),
            settings.sampling_steps,
            settings.guidance,
            torch.Generator("cpu").manual_seed(settings.seed),
            progress,
            kept=masks.folded(asked.kept, *self.backbone.latent_shape[2:]),
            sampler=self.backbone.sampler(shift=settings.shift),
        )
        made = self.backbone.decode(latents).numpy()
        shown, kept = masks.sized(shown, asked.kept, *made.shape[1:3])
        near = masks.psnr(made[1:], shown[1:], kept[1:])
        facts = {"preserved_db": near and round(near, 2), "put_back": False}
        # Of a whole video made anew the first frame alone is preserved: it would stand out.
        if not settings.put_back or not kept[1:].any():
            return made, facts
        return masks.put_back(made, shown, kept), facts | {"put_back": True}

    def _facts(self, asked: Edit) -> dict[str, Any]:
        request = asked.request
        return {
            "reference": asked.clip_id or "a file",
            "pixels": asked.digest()[:16],
            "mask": request.mask or "difference",
            "may_change": round(float((~asked.kept).mean()), 4),
            "also": sorted(asked.also),
            "caption": asked.caption,
            "prompt": request.prompt,
            "transformer": self.backbone.transformer_id,
            "max_sequence_length": self.backbone.settings.max_text_tokens,
            "settings": self.settings.edit.model_dump(mode="json"),
        }


def require_editing(catalog: Catalog, settings: EditingSettings) -> None:
    """Check what can be known before weights are loaded.

    Raises:
        BadMethodSettings: another family of backbones, or windows that cannot be folded.
        BadSource: clips of another length than the backbone's samples.
    """
    require_family(settings.method, settings.backbone.family)
    edit_windows(settings.backbone.num_frames, settings.edit.window)
    if catalog.spec.num_frames != settings.backbone.num_frames:
        raise BadSource(
            f"This catalogue's clips have {catalog.spec.num_frames} frames and the backbone's samples"
            f" {settings.backbone.num_frames}: an edit needs as many. Set backbone.num_frames to"
            f" {catalog.spec.num_frames}."
        )
    locate_backbone(settings.backbone)


def _share(progress: Progress | None, before: int, of: int) -> Callable[..., None] | None:
    """The progress of a work that is one of two, `before` steps of which `of` went before."""
    if progress is None:
        return None
    return lambda done, _, facts: progress(before + done, of, facts)


def plan_edit(settings: EditingSettings) -> list[str]:
    """What the fit of one video needs, as lines of text; raises what `require_editing` raises."""
    require_family(settings.method, settings.backbone.family)
    backbone = locate_backbone(settings.backbone, ["transformer", "vae"])
    with torch.device("meta"):
        method = build_method(settings.method, backbone.meta_dit())
    frames = settings.backbone.num_frames
    window = settings.edit.window or 13
    windows = edit_windows(frames, window)
    shapes = {f"{frames} frames at once": backbone.latent_shape}
    if len(windows) > 1:
        folded = (window - 1) // 4 + 1, *backbone.latent_shape[1:]
        shapes[f"{len(windows)} windows of {window}"] = folded
    return fit_table(method, shapes)
