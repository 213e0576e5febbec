"""Every accepted clip's adapter under one model, stored once: what clips are compared by, what is used at
once, and what teaches (`train.teacher`)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from lancedb.expr import col
from torch import Tensor

from catalog.search import clip_filter
from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.adapters import PROJECTED, keep_adapters, polished_name
from pipeline.errors import PipelineError
from pipeline.features.stored import read_features
from pipeline.stored import read_stored
from pipeline.workers.actors import gather, map_keys
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.batch import References, pad_reference
from training.methods.base import device_of
from training.methods.own_loss import OwnClips
from training.polish import CannotPolish, polish
from training.progress import Progress
from training.release import Release, load_release, method_settings
from training.run.activations import checkpoint_blocks
from training.settings import PolishSettings

__all__ = ["AdaptReport", "adapt"]

# At full size an adapter and its direction are 200 kB.
ROWS_PER_COMMIT = 256
CLIPS_AT_ONCE = 4
# Polish takes a clip seconds to minutes: no more of it is lost with a process than that of so many.
POLISHED_PER_COMMIT = 4
_NOT_ENCODED = "It is not encoded as it is now: run `video2lora encode`."


class NoAdapters(PipelineError):
    """A model that makes no adapters, or a polish that stored features do not allow."""


@dataclass
class AdaptReport:
    """What the stage did.

    Attributes:
        name: under which the adapters are stored.
        counts: `accepted` clips, of which `present` had an adapter of the model, `predicted` got one and
            `failed` could not be read.
        failures: clip id to reason.
    """

    name: str
    counts: dict[str, int]
    items: int
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)


class PredictAdapters:
    """Actor: table (key: clip id) in, table (clip_id, vector float32 [n] or null, reason or null) out.

    Latents are read where the encoder has stored them; other clips are decoded and encoded here. Polish needs
    first frame and caption too, and takes clips whose features are stored.
    """

    def __init__(
        self,
        catalog: Catalog,
        release: Release,
        backbone: BackboneSettings,
        polishing: PolishSettings | None = None,
        seed: int = 0,
    ) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.catalog, self.release, self.polishing, self.seed = catalog, release, polishing, seed
        parts = ("vae", "transformer") if polishing is None else ("transformer",)
        self.backbone = load_backbone(backbone, parts, device)
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
        rows = self.catalog.get("clips", clip_ids, ["clip_id", "category_id"]).to_pylist()
        categories = {row["clip_id"]: row["category_id"] or "" for row in rows}
        reasons: dict[str, str] = {}
        if self.method.settings.per_category:
            known = self.release.categories
            reasons = {c: f"Nothing trained on its category {categories.get(c)!r}." for c in clip_ids}
            reasons = {c: said for c, said in reasons.items() if categories.get(c) not in known}
        seen = [clip for clip in clip_ids if clip not in reasons]
        read: dict[str, dict[str, Tensor]] = {}
        if self.polishing is not None or "latents" in self.method.settings.needs:
            read = self._read(seen, reasons)
            seen = [clip for clip in seen if clip in read]
        if not seen:
            return {}, reasons
        references = References(tuple(categories[clip] for clip in seen))
        if read:
            padded = [pad_reference(read[clip]["latents"], self.backbone.latent_shape) for clip in seen]
            whole, mask = (torch.stack(each) for each in zip(*padded, strict=True))
            references = References(references.categories, whole, mask, padded=not bool(mask.all()))
        with torch.no_grad():
            conditions = self.method.condition(references.to(device_of(self.method))).split(1)
        vectors = {}
        for place, (clip, condition) in enumerate(zip(seen, conditions, strict=True)):
            if self.polishing is not None:
                try:
                    condition = self._polished(condition, references.select([place]), read[clip])
                except CannotPolish as error:
                    reasons[clip] = str(error)
                    continue
            vector = self.method.vector(condition).numpy()
            if np.isfinite(vector).all():
                vectors[clip] = vector
            else:
                reasons[clip] = (
                    "The model makes no finite numbers of it: its latents or the weights are damaged."
                )
        return vectors, reasons

    def _read(self, clips: list[str], reasons: dict[str, str]) -> dict[str, dict[str, Tensor]]:
        """What is needed of clips, by clip and need; why it cannot be had of one is added to `reasons`."""
        needs = ["latents"] if self.polishing is None else ["latents", "first_frame", "text"]
        read = read_features(self.catalog, self.backbone.encoder_id, clips, needs)
        dtype = self.backbone.settings.torch_dtype
        for found in read.values():
            found["latents"] = found["latents"].to(dtype).float()
        missing = [clip for clip in clips if clip not in read]
        if self.polishing is not None:
            reasons |= dict.fromkeys(missing, _NOT_ENCODED)
            return read
        for clip, frames, reason in read_stored(self.catalog, missing):
            if frames is None:
                reasons[clip] = reason or "It cannot be read."
            else:
                read[clip] = {"latents": self.backbone.encode_video(frames)[0].float().cpu()}
        return read

    def _polished(self, condition: Tensor, reference: References, read: dict[str, Tensor]) -> Tensor:
        """A clip's adapter [1, L, r·(a+b)], fitted to the clip alone."""
        first, text = (read[need][None].float() for need in ("first_frame", "text"))
        own = OwnClips(reference.latents, reference.mask, first, text)
        checkpoint_blocks(self.method.dit, self.polishing.activation_checkpointing)
        try:
            return polish(self.method, condition, own, self.polishing, seed=self.seed).condition
        finally:
            checkpoint_blocks(self.method.dit, "none")


def adapt(
    catalog: Catalog,
    release: Release,
    backbone: BackboneSettings,
    progress: Progress | None = None,
    *,
    where: str | None = None,
    polishing: PolishSettings | None = None,
    seed: int = 0,
    again: bool = False,
    actors: int = 1,
    cpus: float = 1.0,
    gpus: float = 0.0,
) -> AdaptReport:
    """Predict and store the adapters of accepted clips that are not stored yet.

    Args:
        where: of those alone that match a filter.
        polishing: fit each to its own clip then, and store them under a name of their own (`polished_name`);
            None: as predicted.
        seed: of polish.
        again: those that are there too.
        actors, cpus, gpus: how many workers, and what one occupies.

    Raises:
        NoAdapters: the model makes none that could be stored, or copies are asked for (`polishing.augment`).
        BadFilter: see `catalog.predicates`.
        ReleaseError, WeightsUnreachable: see `load_release` and `load_backbone`.
    """
    began = monotonic()
    if not method_settings(release).needs <= {"latents"}:
        raise NoAdapters(
            f"Model {release.model_id} makes no adapters of references: name one of another method."
        )
    if polishing is not None and polishing.augment:
        raise NoAdapters(
            "Stored features are of the clips alone, and generate.polish.augment asks for changed copies:"
            " set it to 0, or polish single clips with `video2lora adapter predict --polish`."
        )
    name = release.model_id if polishing is None else polished_name(release.model_id, polishing, seed)
    wanted = col("status") == Status.ACCEPTED
    if where is not None:
        wanted = wanted.and_(clip_filter(catalog, where))
    accepted = catalog.scan("clips", ["clip_id"], wanted)["clip_id"].to_pylist()
    present = set() if again else _present(catalog, name).intersection(accepted)
    due = [clip for clip in accepted if clip not in present]
    counts = {"accepted": len(accepted), "present": len(accepted) - len(due), "predicted": 0, "failed": 0}
    report = AdaptReport(name, counts, len(due))
    if progress:
        progress(0, len(due), {})
    made = map_keys(
        due,
        PredictAdapters,
        {"catalog": catalog, "release": release, "backbone": backbone, "polishing": polishing, "seed": seed},
        batch_size=CLIPS_AT_ONCE if polishing is None else 1,
        actors=actors,
        cpus=cpus,
        gpus=gpus,
        setting="encode",
    )
    commit = ROWS_PER_COMMIT if polishing is None else POLISHED_PER_COMMIT
    for rows in gather(_told(made, len(due), progress), commit):
        found = rows.to_pylist()
        report.failures |= {row["clip_id"]: row["reason"] for row in found if row["reason"] is not None}
        good = {
            row["clip_id"]: np.asarray(row["vector"], np.float32) for row in found if row["reason"] is None
        }
        if good:
            keep_adapters(catalog, name, good)
        report.counts["predicted"] += len(good)
    report.counts["failed"] = len(report.failures)
    report.seconds = monotonic() - began
    return report


def _present(catalog: Catalog, name: str) -> set[str]:
    """Clips with an adapter of that name that can be compared as adapters are compared now."""
    rows = catalog.scan("adapters", ["clip_id", "projection"], col("model_id") == name)
    sizes = pc.list_value_length(rows["projection"]).to_pylist()
    return {clip for clip, size in zip(rows["clip_id"].to_pylist(), sizes, strict=True) if size == PROJECTED}


def _told(tables: Iterable[pa.Table], total: int, progress: Progress | None) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        done += table.num_rows
        if progress:
            progress(done, total, {})
        yield table
