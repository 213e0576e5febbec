"""`video2lora generate`: a reference video becomes a LoRA, the LoRA performs its effect on a first frame."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from catalog.models import model_folder
from catalog.store import Catalog
from jobs.caveats import caveats
from jobs.errors import NothingToDo
from jobs.job import Job, say
from jobs.workspace import Workspace
from pipeline.example import read_example
from pipeline.video.transcode import encode_video, read_clip
from training.backbones.cogvideox.backbone import Backbone
from training.batch import pad_reference
from training.generate import generate
from training.methods.video2lora.export import adapter_to_lora, save_lora
from training.release import Release, load_release, read_release

MAX_IMAGE_PIXELS = 100_000_000


@dataclass(frozen=True)
class Generated:
    """One generated video and what it was made from."""

    video: Path
    lora: Path
    frames: np.ndarray
    reference: np.ndarray
    first_frame: np.ndarray


class Studio:
    """A model and its backbone, loaded once, for any number of videos.

    Raises:
        ReleaseError, WeightsUnreachable: see `load_release` and `Backbone.load`.
    """

    def __init__(self, workspace: Workspace, catalog: Catalog, release: Release) -> None:
        self.workspace = workspace
        self.catalog = catalog
        self.release = release
        self.settings = workspace.profile.generate
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.backbone = Backbone.load(workspace.profile.backbone, device=device)
        self.method = load_release(release, self.backbone).to(device)

    def make(
        self,
        reference: str,
        first_frame: str,
        prompt: str,
        output: Path,
        progress: Callable[[int, int | None, dict], None] | None = None,
    ) -> Generated:
        """Predict the adapter of `reference`, run the denoising loop, write the mp4 and the LoRA beside it.

        Args:
            reference: a video file or a clip_id.
            first_frame: an image, a video file or a clip_id; of the last two the first frame.
        """
        shown = self._clip(reference)
        picture = self._picture(first_frame)
        theta = self._adapter(reference, shown)
        frames = generate(
            self.backbone,
            self.method,
            theta,
            picture,
            prompt,
            self.settings.steps,
            self.settings.guidance,
            self.settings.seed,
            progress,
            adapter_guidance=self.settings.adapter_guidance,
        ).numpy()
        output.parent.mkdir(parents=True, exist_ok=True)
        lora = output.with_suffix(".lora.safetensors")
        _write(output, encode_video(frames, self.catalog.spec.fps))
        facts = {"model_id": self.release.model_id, "reference": reference}
        save_lora(lora, adapter_to_lora(self.method, theta), facts)
        return Generated(output, lora, frames, shown, picture)

    @torch.no_grad()
    def _adapter(self, reference: str, frames: np.ndarray) -> torch.Tensor:
        """The predicted adapter [1, L, a+b]; that of a clip of the catalogue is stored there."""
        mean, _ = self.backbone.encode_video(frames)
        latents, mask = pad_reference(mean, self.backbone.latent_shape)
        device = self.method.transformer.device
        theta = self.method.predict(latents[None].float().to(device), mask[None].to(device))
        if self.catalog.get("clips", [reference], ["clip_id"]).num_rows:
            vector = theta.flatten().float().cpu().numpy()
            row = {
                "clip_id": reference,
                "model_id": self.release.model_id,
                "vector": vector,
                "projection": vector / max(float(np.linalg.norm(vector)), 1e-12),
                "created_at": datetime.now(UTC),
            }
            self.catalog.upsert("adapters", [row])
        return theta

    def _clip(self, name: str) -> np.ndarray:
        """Frames of a clip of the catalogue, or of a video file, uint8 [n, H, W, 3]."""
        stored = self.catalog.videos([name])
        if name in stored:
            return read_clip(stored[name])
        if not Path(name).exists():
            raise NothingToDo(
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
                        raise NothingToDo(
                            f"{name} has {image.width}×{image.height} pixels; scale it down first."
                        )
                    return _cover(image.convert("RGB"), self.catalog.spec.width, self.catalog.spec.height)
            except UnidentifiedImageError:
                pass  # not an image: a video, or nothing that can be used, which _clip says
            except OSError as error:
                raise NothingToDo(f"The first frame {name} cannot be read: {error}.") from error
        return self._clip(name)[0]


def generate_job(
    workspace: Workspace,
    reference: str,
    first_frame: str,
    prompt: str,
    output: Path | None,
    model: str | None,
) -> None:
    """`video2lora generate`."""
    release = find_model(workspace, workspace.existing_catalog(), model)
    with Job("generate", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(workspace, job.catalog, release)
        if output is None:
            output = workspace.folder("generated") / f"{_slug(reference)}--{_slug(first_frame)}.mp4"
        with job.step("generate") as progress:
            made = studio.make(reference, first_frame, prompt, output, progress)
        job.report["generated"] = [{"video": str(made.video), "lora": str(made.lora), "prompt": prompt}]
        say(f"{made.video}, and its LoRA in {made.lora}")
        for sentence in caveats(workspace.profile.backbone, release):
            say(sentence)


def find_model(workspace: Workspace, catalog: Catalog, model_id: str | None) -> Release:
    """The named model, or the champion, or the newest.

    Raises:
        NothingToDo: there is none of that name, or none at all.
    """
    columns = ["model_id", "path", "champion", "created_at"]
    rows = sorted(
        catalog.scan("models", columns).to_pylist(), key=lambda r: (bool(r["champion"]), r["created_at"])
    )
    if not rows:
        raise NothingToDo("There is no trained model yet. Train one with `video2lora train`.")
    chosen = [row for row in rows if model_id in (None, row["model_id"])]
    if not chosen:
        known = ", ".join(row["model_id"] for row in reversed(rows[-5:]))
        raise NothingToDo(f"No model named {model_id!r} in this catalogue. Newest: {known}.")
    return read_release(model_folder(catalog, chosen[-1]["path"], workspace.folder("models")))


def _cover(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Scale and centre-crop a picture to the clip geometry, as `fit=crop` does with videos."""
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    # A copy: what Pillow hands out is read-only, which torch warns about.
    return np.array(image.crop((left, top, left + width, top + height)))


def _slug(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:32]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
