"""A trained model, loaded once, for any number of clips: reference, first frame and prompt in, video out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from catalog.models import model_folder
from catalog.store import Catalog
from pipeline.adapters import Adapter, Reference, predict_adapter
from pipeline.errors import BadSource, PipelineError
from pipeline.example import read_first_frame
from pipeline.polish import polish_adapter
from pipeline.video.transcode import encode_video
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.files import lora_beside, write_atomically
from training.generate import generate
from training.methods.lightlora.export import save_lora
from training.methods.registry import for_one_video
from training.progress import Progress
from training.release import Release, load_release, read_release, shipped_model
from training.settings import GenerateSettings, PolishSettings


class NoModel(PipelineError):
    """There is no trained model of that name, or none at all."""


@dataclass(frozen=True)
class GeneratedClip:
    """One generated video and what it was made from.

    Attributes:
        frames: uint8 [n, H, W, 3].
        reference: the effect that was asked for, the first of several.
        first_frame: uint8 [H, W, 3].
        adapter: what the reference became.
        notes: sentences that a person should know who looks at it.
    """

    frames: np.ndarray
    fps: int
    reference: Reference
    first_frame: np.ndarray
    adapter: Adapter
    notes: tuple[str, ...] = ()

    def save(self, path: Path | str) -> tuple[Path, Path | None]:
        """Write the mp4 and, where the method has one, its LoRA beside it; returns both paths.

        What the clip comes from (`Adapter.facts`) is JSON in both: the video's comment, the LoRA's header.
        """
        path = Path(path)
        lineage = json.dumps(self.adapter.facts, sort_keys=True)
        write_atomically(path, encode_video(self.frames, self.fps, comment=lineage))
        if self.adapter.lora is None:
            return path, None
        save_lora(lora_beside(path), self.adapter.lora, self.adapter.facts)
        return path, lora_beside(path)


class Studio:
    """A model and its backbone.

    Args:
        catalog: whose clips may be named, and where their adapters are stored.
        release: the model.
        backbone: None takes the one that the model was trained on.
        settings: of sampling; None takes those that the model was trained beside.

    Raises:
        ReleaseError, WeightsUnreachable: see `load_release` and `load_backbone`.
    """

    def __init__(
        self,
        catalog: Catalog,
        release: Release,
        backbone: BackboneSettings | None = None,
        settings: GenerateSettings | None = None,
    ) -> None:
        self.catalog = catalog
        self.release = release
        self.settings = settings or GenerateSettings.model_validate(release.facts.get("generate", {}))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        wanted = backbone or BackboneSettings.model_validate(release.facts["backbone"])
        self.backbone = load_backbone(wanted, device=device)
        self.method = load_release(release, self.backbone).to(device)

    @classmethod
    def open(cls, workdir: Path | str, model_id: str | None = None) -> Self:
        """The champion or newest model of a working directory, or the one of that name.

        Raises:
            CatalogNotFound, NoModel: there is none.
        """
        catalog = Catalog.open(Path(workdir) / "catalog")
        return cls(catalog, find_model(catalog, Path(workdir) / "models", model_id))

    def make(
        self,
        reference: str | Reference | Sequence[str | Reference],
        first_frame: str | np.ndarray,
        prompt: str,
        progress: Progress | None = None,
        polish: int | None = None,
    ) -> GeneratedClip:
        """The effect of `reference` on `first_frame`.

        Args:
            reference: a video file, a clip_id, or what `Reference.read` made of one; of several that show one
                effect, see `adapter`.
            first_frame: an image, a video file or a clip_id (of these two the first frame), or pixels uint8
                [H, W, 3].
            prompt: what the scene shows.
            progress: called after each step of polish and of denoising.
            polish: steps of polish; None takes those of the settings.

        Raises:
            BadSource: a name that is neither, or a file that cannot be read.
            CannotPolish: see `training.polish.polish`.
        """
        references = self.read(reference)
        shown = references[0]
        picture = read_first_frame(self.catalog, first_frame) if isinstance(first_frame, str) else first_frame
        polishing = self.settings.polish.steps if polish is None else polish
        every = polishing + self.settings.steps
        adapter = self.adapter(references, _share(progress, 0, every), polishing)
        frames = generate(
            self.backbone,
            self.method,
            adapter.condition,
            picture,
            prompt,
            self.settings.steps,
            self.settings.guidance,
            self.settings.seed,
            _share(progress, polishing, every),
            adapter_guidance=self.settings.adapter_guidance,
        ).numpy()
        notes = (*shown.notes(), *self._notes(prompt, adapter))
        adapter = adapter.told(adapter_guidance=self.settings.adapter_guidance, prompt=prompt)
        return GeneratedClip(frames, self.catalog.spec.fps, shown, picture, adapter, notes)

    def read(self, reference: str | Reference | Sequence[str | Reference]) -> list[Reference]:
        """References by name; raises BadSource where one is neither a video file nor a clip_id."""
        given = [reference] if isinstance(reference, str | Reference) else reference
        if not given:
            raise BadSource("No reference is named: name a video file or a clip_id.")
        return [Reference.read(self.catalog, each) if isinstance(each, str) else each for each in given]

    def adapter(
        self,
        reference: str | Reference | Sequence[str | Reference],
        progress: Progress | None = None,
        polish: int | None = None,
    ) -> Adapter:
        """What the model makes of a reference: predicted, then polished in as many steps as `polish` or
        the settings say.

        Of several references that show one effect as many are predicted from as the model takes, and all are
        polished on.

        Raises:
            BadSource, CannotPolish: see `make`; several references and no polish.
        """
        references = self.read(reference)
        polishing = self.settings.polish
        if polish is not None:
            polishing = PolishSettings.model_validate(polishing.model_dump() | {"steps": polish})
        takes = self.method.settings.references_per_target
        if len(references) > takes and not polishing.steps:
            raise BadSource(
                f"Model {self.release.model_id} reads at most {takes} reference{'s' if takes > 1 else ''} of"
                f" an effect, and {len(references)} are named: name fewer, or polish on all of them"
                " (generate.polish.steps=40)."
            )
        adapter = predict_adapter(self.backbone, self.method, self.release, self.catalog, *references[:takes])
        return polish_adapter(
            self.backbone, self.method, adapter, references, polishing, self.settings.seed, progress
        )

    def _notes(self, prompt: str, adapter: Adapter) -> list[str]:
        said = []
        if unread := self.backbone.unread(prompt):
            said.append(
                "The prompt is longer than what this backbone reads"
                f" ({self.backbone.settings.max_text_tokens} tokens): nothing of {unread!r} counts."
            )
        if adapter.lora is not None and self.settings.adapter_guidance != 1:
            said.append(
                f"The clip was led by adapter guidance {self.settings.adapter_guidance:g}; the LoRA beside"
                " it, at weight 1 in another tool, shows less of the effect."
            )
        return said


def _share(progress: Progress | None, before: int, of: int) -> Progress | None:
    """The progress of a work that is one of several, `before` steps of which `of` went before."""
    if progress is None:
        return None
    return lambda done, _, facts: progress(before + done, of, facts)


def find_model(catalog: Catalog, models: Path, model_id: str | None = None) -> Release:
    """The named model, or the champion, or the newest; "pocket" is the one that comes with this project.

    Args:
        models: the working directory's folder of models; see `model_folder`.

    Raises:
        NoModel: there is none of that name, or none at all.
        ModelMissing: its files are gone.
    """
    if model_id == "pocket":
        return shipped_model()
    columns = ["model_id", "path", "champion", "created_at", "method"]
    rows = sorted(
        catalog.scan("models", columns).to_pylist(), key=lambda r: (bool(r["champion"]), r["created_at"])
    )
    # What was fitted to one video is nobody's model but that video's: it has to be named.
    rows = [row for row in rows if row["model_id"] == model_id or not for_one_video(row["method"])]
    if not rows:
        raise NoModel(
            "There is no trained model yet. Train one with `video2lora train`, or take the one that comes"
            " with the pocket backbone: `--model pocket`."
        )
    chosen = [row for row in rows if model_id in (None, row["model_id"])]
    if not chosen:
        known = ", ".join(row["model_id"] for row in reversed(rows[-5:]))
        raise NoModel(f"No model named {model_id!r} in this catalogue. Newest: {known}.")
    return read_release(model_folder(catalog, chosen[-1]["path"], models))
