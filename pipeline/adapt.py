"""Every accepted clip's adapter under one model, stored once: what clips are compared by, and what is used at
once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import col

from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.adapters import PROJECTED, keep_adapters
from pipeline.errors import PipelineError
from pipeline.features.stored import read_features
from pipeline.stored import read_stored
from pipeline.workers.actors import gather, map_keys
from training.backbones.settings import BackboneSettings
from training.progress import Progress
from training.release import Release, method_settings

__all__ = ["AdaptReport", "adapt"]

# At full size an adapter and its direction are 200 kB.
ROWS_PER_COMMIT = 256
CLIPS_AT_ONCE = 4


class NoAdapters(PipelineError):
    """A model that makes no adapters."""


@dataclass
class AdaptReport:
    """What the stage did.

    Attributes:
        counts: `accepted` clips, of which `present` had an adapter of the model, `predicted` got one and
            `failed` could not be read.
        failures: clip id to reason.
    """

    model_id: str
    counts: dict[str, int]
    items: int
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)


class PredictAdapters:
    """Actor: table (key: clip id) in, table (clip_id, vector float32 [n] or null, reason or null) out.

    Latents are read where the encoder has stored them; other clips are decoded and encoded here.
    """

    def __init__(self, catalog: Catalog, release: Release, backbone: BackboneSettings) -> None:
        import torch

        from training.backbones.registry import load_backbone
        from training.release import load_release

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.catalog, self.release = catalog, release
        self.backbone = load_backbone(backbone, ("vae", "transformer"), device)
        self.method = load_release(release, self.backbone).to(device)

    def __call__(self, batch: pa.Table) -> pa.Table:
        clip_ids = batch["key"].to_pylist()
        vectors, reasons = self._predicted(clip_ids)
        return pa.table(
            {
                "clip_id": pa.array(clip_ids, pa.string()),
                "vector": pa.array([vectors.get(clip) for clip in clip_ids], pa.list_(pa.float32())),
                "reason": pa.array([reasons.get(clip) for clip in clip_ids], pa.string()),
            }
        )

    def _predicted(self, clip_ids: list[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        import torch

        from training.batch import References, pad_reference
        from training.methods.base import device_of

        rows = self.catalog.get("clips", clip_ids, ["clip_id", "category_id"]).to_pylist()
        categories = {row["clip_id"]: row["category_id"] or "" for row in rows}
        reasons: dict[str, str] = {}
        if self.method.settings.per_category:
            known = self.release.categories
            reasons = {c: f"Nothing trained on its category {categories.get(c)!r}." for c in clip_ids}
            reasons = {c: said for c, said in reasons.items() if categories.get(c) not in known}
        seen = [clip for clip in clip_ids if clip not in reasons]
        latents = {}
        if "latents" in self.method.settings.needs:
            stored = read_features(self.catalog, self.backbone.encoder_id, seen, ["latents"])
            dtype = self.backbone.settings.torch_dtype
            latents = {clip: found["latents"].to(dtype).float() for clip, found in stored.items()}
            for clip, frames, reason in read_stored(self.catalog, [c for c in seen if c not in latents]):
                if frames is None:
                    reasons[clip] = reason or "It cannot be read."
                else:
                    latents[clip] = self.backbone.encode_video(frames)[0].float().cpu()
            seen = [clip for clip in seen if clip in latents]
        if not seen:
            return {}, reasons
        references = References(tuple(categories[clip] for clip in seen))
        if latents:
            padded = [pad_reference(latents[clip], self.backbone.latent_shape) for clip in seen]
            whole, mask = (torch.stack(each) for each in zip(*padded, strict=True))
            references = References(references.categories, whole, mask, padded=not bool(mask.all()))
        with torch.no_grad():
            conditions = self.method.condition(references.to(device_of(self.method))).split(1)
        vectors = {}
        for clip, condition in zip(seen, conditions, strict=True):
            vector = self.method.vector(condition).numpy()
            if np.isfinite(vector).all():
                vectors[clip] = vector
            else:
                reasons[clip] = (
                    "The model makes no finite numbers of it: its latents or the weights are damaged."
                )
        return vectors, reasons


def adapt(
    catalog: Catalog,
    release: Release,
    backbone: BackboneSettings,
    progress: Progress | None = None,
    *,
    again: bool = False,
    actors: int = 1,
    cpus: float = 1.0,
    gpus: float = 0.0,
) -> AdaptReport:
    """Predict and store the adapters of accepted clips that this model has not predicted yet.

    Args:
        again: those that are there too.
        actors, cpus, gpus: how many workers, and what one occupies.

    Raises:
        NoAdapters: the model makes none that could be stored.
        ReleaseError, WeightsUnreachable: see `load_release` and `load_backbone`.
    """
    began = monotonic()
    if not method_settings(release).needs <= {"latents"}:
        raise NoAdapters(
            f"Model {release.model_id} makes no adapters of references: name one of another method."
        )
    accepted = catalog.scan("clips", ["clip_id"], col("status") == Status.ACCEPTED)["clip_id"].to_pylist()
    present = set() if again else _present(catalog, release.model_id)
    due = [clip for clip in accepted if clip not in present]
    counts = {"accepted": len(accepted), "present": len(accepted) - len(due), "predicted": 0, "failed": 0}
    report = AdaptReport(release.model_id, counts, len(due))
    if progress:
        progress(0, len(due), {})
    made = map_keys(
        due,
        PredictAdapters,
        {"catalog": catalog, "release": release, "backbone": backbone},
        batch_size=CLIPS_AT_ONCE,
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        setting="encode",
    )
    for rows in gather(_told(made, len(due), progress), ROWS_PER_COMMIT):
        found = rows.to_pylist()
        report.failures |= {row["clip_id"]: row["reason"] for row in found if row["reason"] is not None}
        good = {
            row["clip_id"]: np.asarray(row["vector"], np.float32) for row in found if row["reason"] is None
        }
        if good:
            keep_adapters(catalog, release.model_id, good)
        report.counts["predicted"] += len(good)
    report.counts["failed"] = len(report.failures)
    report.seconds = monotonic() - began
    return report


def _present(catalog: Catalog, model_id: str) -> set[str]:
    """Clips with an adapter that can be compared as adapters are compared now."""
    rows = catalog.scan("adapters", ["clip_id", "projection"], col("model_id") == model_id)
    sizes = pc.list_value_length(rows["projection"]).to_pylist()
    return {clip for clip, size in zip(rows["clip_id"].to_pylist(), sizes, strict=True) if size == PROJECTED}


def _told(tables: Iterable[pa.Table], total: int, progress: Progress | None) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        done += table.num_rows
        if progress:
            progress(done, total, {})
        yield table
