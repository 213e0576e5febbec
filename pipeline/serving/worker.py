"""A worker of a server: one request after the other, with a model that stays loaded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from catalog.errors import CatalogError, LostClaim
from catalog.requests import Request, claim, fail, find, finish
from catalog.store import Catalog
from pipeline.adapters import Reference
from pipeline.errors import BadSource, PipelineError
from pipeline.generated import GeneratedClip
from pipeline.models import find_model
from pipeline.serving.asked import Asked, Shown
from pipeline.serving.uploads import Uploads
from pipeline.serving.watch import Watch
from pipeline.stored import read_stored
from pipeline.studio import Studio
from pipeline.video.transcode import encode_poster
from training.backbones.settings import BackboneSettings
from training.errors import TrainingError
from training.files import lora_beside, write_atomically
from training.settings import GenerateSettings

UPLOADS = "uploads"
logger = logging.getLogger(__name__)


class Worker:
    """Claims requests and works them off.

    Args:
        catalog: whose requests they are.
        folder: where uploads lie and results go; see `pipeline/README.md`.
        models: the working directory's folder of models.
        backbone: None takes the one that a model was trained on.
        settings: of sampling, where a request says nothing; None takes those of the model.
        model: that requests get which name none; None is the champion or newest.
        name: of this worker, different from all others.
        patience: how long it may be silent before a request is not its own any more.
        told: what an error of the machine is for a person, None where it is a fault of ours.
    """

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        models: Path,
        name: str,
        patience: timedelta,
        backbone: BackboneSettings | None = None,
        settings: GenerateSettings | None = None,
        model: str | None = None,
        told: Callable[[BaseException], str | None] = lambda error: None,
    ) -> None:
        self.catalog = catalog
        self.folder = folder
        self.models = models
        self.name = name
        self.patience = patience
        self.backbone = backbone
        self.settings = settings
        self.model = model
        self.told = told
        self.uploads = Uploads(folder / UPLOADS, catalog.spec)
        self._studio: Studio | None = None

    def work_off(self, request_id: str) -> str | None:
        """Claim a request and bring it to an end; the state it is left in, None where it was not to be had.

        Never raises for what a request is: it fails, and its row says why in a sentence.
        """
        claimed = claim(self.catalog, request_id, self.name, self.patience)
        if claimed is None:
            return None
        try:
            return self._ended(claimed)
        except LostClaim:
            # Cancelled, or another worker's: nothing of this attempt counts.
            self._discard(claimed)
            return str(find(self.catalog, request_id).state) if self._is_there(request_id) else None

    def _ended(self, claimed: Request) -> str:
        try:
            with Watch(self.catalog, claimed, self.patience.total_seconds(), self._peek(claimed)) as watch:
                result = self._made(claimed, watch)
                watch.check()
            state = str(finish(self.catalog, claimed, result).state)
            self._preview(claimed).unlink(missing_ok=True)
            return state
        except LostClaim:
            raise
        except Exception as error:
            # Whatever it is, it is this request's end, and not the worker's.
            sentence = _sentence(error) or self.told(error)
            if sentence is None:
                logger.exception("request %s", claimed.request_id)
                sentence = "That is a fault of ours; the server's log has the traceback."
            self._discard(claimed)
            return str(fail(self.catalog, claimed, sentence).state)

    def _made(self, claimed: Request, watch: Watch) -> dict[str, Any]:
        began = time.monotonic()
        asked = Asked.model_validate(claimed.asked)
        references = [self._reference(shown) for shown in asked.references]
        picture = self._first_frame(asked.first_frame)
        studio = self._ready(asked.model or self.model)
        watch.check()
        studio.settings = asked.settings(self._defaults(studio))
        loaded = time.monotonic()
        made = studio.make(references, picture, asked.prompt, watch, asked.polish, weights=asked.weights)
        watch.check()
        files = self._saved(made, claimed)
        return {
            **files,
            "model": studio.release.model_id,
            "settings": studio.settings.model_dump(mode="json"),
            "notes": list(made.notes),
            "seconds": {
                "load": round(loaded - began, 3),
                "generate": round(time.monotonic() - loaded, 3),
            },
        }

    def _saved(self, made: GeneratedClip, claimed: Request) -> dict[str, Any]:
        """Write the results under names that no other attempt has: which ones count, the row says."""
        video = self.folder / f"{claimed.request_id}-{claimed.attempt}.mp4"
        _, lora = made.save(video)
        poster = video.with_suffix(".jpg")
        write_atomically(poster, encode_poster(made.frames[len(made.frames) // 2]))
        return {"video": video.name, "lora": lora.name if lora else None, "poster": poster.name}

    def _discard(self, claimed: Request) -> None:
        video = self.folder / f"{claimed.request_id}-{claimed.attempt}.mp4"
        for file in (video, lora_beside(video), video.with_suffix(".jpg"), self._preview(claimed)):
            file.unlink(missing_ok=True)

    def _preview(self, claimed: Request) -> Path:
        return self.folder / preview_of(claimed)

    def _peek(self, claimed: Request) -> Callable[[dict[str, Any]], None]:
        """Writes a frame of what a step says of the clean clip: one of its latent frames, decoded alone."""

        def peek(facts: dict[str, Any]) -> None:
            if self._studio is None or "clean" not in facts:
                return
            latents = facts["clean"]()[0]
            middle = len(latents) // 2
            frame = self._studio.backbone.decode(latents[middle : middle + 1])[0].numpy()
            try:
                write_atomically(self._preview(claimed), encode_poster(frame))
            except OSError:
                logger.warning("%s: no preview can be written", claimed.request_id, exc_info=True)

        return peek

    def _ready(self, model: str | None) -> Studio:
        """A studio with that model: the one that is loaded where it is the same."""
        release = find_model(self.catalog, self.models, model)
        if self._studio is None or self._studio.release.model_id != release.model_id:
            self._studio = None  # two large models at once would not fit
            self._studio = Studio(self.catalog, release, self.backbone, self.settings)
        return self._studio

    def _defaults(self, studio: Studio) -> GenerateSettings:
        return self.settings or GenerateSettings.model_validate(studio.release.facts.get("generate", {}))

    def _reference(self, shown: Shown) -> Reference:
        if shown.kind == "upload":
            return Reference("an upload", self.uploads.frames(shown.name))
        require_clip(self.catalog, shown.name)
        return Reference.read(self.catalog, shown.name)

    def _first_frame(self, shown: Shown) -> Any:
        if shown.kind == "upload":
            return self.uploads.first_frame(shown.name)
        require_clip(self.catalog, shown.name)
        frames = next(frames for _, frames, _ in read_stored(self.catalog, [shown.name]))
        if frames is None:
            raise BadSource(f"The video of clip {shown.name!r} cannot be read.")
        return frames[0]

    def _is_there(self, request_id: str) -> bool:
        return bool(self.catalog.get("requests", [request_id], ["request_id"]).num_rows)


def require_clip(catalog: Catalog, name: str) -> None:
    """Refuse a name that is no clip's: what comes over a network never is a path.

    Raises:
        BadSource: no clip has that id.
    """
    if not catalog.get("media", [name], ["clip_id"]).num_rows:
        raise BadSource(f"{name[:80]!r} is no clip_id of this catalogue; upload a file, or find clips at /.")


def preview_of(request: Request) -> str:
    """The name of the file that shows an attempt while it runs."""
    return f"{request.request_id}-{request.attempt}.preview.jpg"


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, CatalogError | PipelineError | TrainingError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
    return None
