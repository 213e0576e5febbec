"""A trained model, loaded once, for any number of clips: reference, first frame and prompt in, video out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from catalog.models import model_folder
from catalog.store import Catalog
from pipeline.adapters import Adapter, predict_adapter
from pipeline.errors import BadSource, PipelineError
from pipeline.example import read_example
from pipeline.video.transcode import encode_video, read_clip
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.generate import generate
from training.methods.lightlora.export import save_lora
from training.release import Release, load_release, read_release
from training.settings import GenerateSettings

MAX_IMAGE_PIXELS = 100_000_000
Progress = Callable[[int, int | None, dict], None]


class NoModel(PipelineError):
    """There is no trained model of that name, or none at all."""


@dataclass(frozen=True)
class GeneratedClip:
    """One generated video and what it was made from; frames uint8 [n, H, W, 3], the first frame [H, W, 3]."""

    frames: np.ndarray
    fps: int
    reference: np.ndarray
    first_frame: np.ndarray
    adapter: Adapter

    def save(self, path: Path | str) -> tuple[Path, Path | None]:
        """Write the mp4 and, where the method has one, its LoRA beside it; returns both paths."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(encode_video(self.frames, self.fps))
        partial.replace(path)
        if self.adapter.lora is None:
            return path, None
        lora = path.with_suffix(".lora.safetensors")
        save_lora(lora, self.adapter.lora, self.adapter.facts)
        return path, lora


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
            NoModel: there is none.
        """
        catalog = Catalog.open(Path(workdir) / "catalog")
        return cls(catalog, find_model(catalog, Path(workdir) / "models", model_id))

    def make(
        self, reference: str, first_frame: str, prompt: str, progress: Progress | None = None
    ) -> GeneratedClip:
        """The effect of `reference` on `first_frame`.

        Args:
            reference: a video file or a clip_id.
            first_frame: an image, a video file or a clip_id; of the last two the first frame.
            prompt: what the scene shows.
            progress: called after each denoising step.

        Raises:
            BadSource: a name that is neither, or a file that cannot be read.
        """
        shown = self._clip(reference)
        picture = self._picture(first_frame)
        adapter = predict_adapter(self.backbone, self.method, self.release, self.catalog, reference, shown)
        frames = generate(
            self.backbone,
            self.method,
            adapter.condition,
            picture,
            prompt,
            self.settings.steps,
            self.settings.guidance,
            self.settings.seed,
            progress,
            adapter_guidance=self.settings.adapter_guidance,
        ).numpy()
        return GeneratedClip(frames, self.catalog.spec.fps, shown, picture, adapter)

    def _clip(self, name: str) -> np.ndarray:
        """Frames of a clip of the catalogue, or of a video file, uint8 [n, H, W, 3]."""
        stored = self.catalog.videos([name])
        if name in stored:
            return read_clip(stored[name])
        if not Path(name).exists():
            raise BadSource(
                f"{name!r} is neither a video file nor a clip_id; find ids with `video2lora search`."
            )
        return read_example(name, self.catalog.spec)

    def _picture(self, name: str) -> np.ndarray:
        """A first frame uint8 [H, W, 3]."""
        path = Path(name)
        if path.is_file():
            try:
                with Image.open(path) as image:
                    if image.width * image.height > MAX_IMAGE_PIXELS:
                        raise BadSource(
                            f"{name} has {image.width}×{image.height} pixels; scale it down first."
                        )
                    return _cover(image.convert("RGB"), self.catalog.spec.width, self.catalog.spec.height)
            except UnidentifiedImageError:
                pass  # not an image: a video, or nothing that can be used, which _clip says
            except OSError as error:
                raise BadSource(f"The first frame {name} cannot be read: {error}.") from error
        return self._clip(name)[0]


def find_model(catalog: Catalog, models: Path, model_id: str | None = None) -> Release:
    """The named model, or the champion, or the newest.

    Args:
        models: the working directory's folder of models; see `model_folder`.

    Raises:
        NoModel: there is none of that name, or none at all.
        ModelMissing: its files are gone.
    """
    columns = ["model_id", "path", "champion", "created_at"]
    rows = sorted(
        catalog.scan("models", columns).to_pylist(), key=lambda r: (bool(r["champion"]), r["created_at"])
    )
    if not rows:
        raise NoModel("There is no trained model yet. Train one with `video2lora train`.")
    chosen = [row for row in rows if model_id in (None, row["model_id"])]
    if not chosen:
        known = ", ".join(row["model_id"] for row in reversed(rows[-5:]))
        raise NoModel(f"No model named {model_id!r} in this catalogue. Newest: {known}.")
    return read_release(model_folder(catalog, chosen[-1]["path"], models))


def _cover(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Scale and centre-crop a picture to the clip geometry, as `fit=crop` does with videos."""
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    # A copy: what Pillow hands out is read-only, which torch warns about.
    return np.array(image.crop((left, top, left + width, top + height)))
