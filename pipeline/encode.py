"""Clips to features: VAE latents and the caption's embedding, computed once and stored per encoder."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

import pyarrow as pa
from lancedb.expr import col

from catalog.schema import SCHEMAS
from catalog.store import Catalog
from catalog.vocabulary import Status
from pipeline.features.settings import EncodeSettings
from pipeline.features.tensors import to_bytes
from pipeline.stored import read_stored, tell_made
from pipeline.workers.actors import gather, map_keys
from training.backbones.registry import load_backbone, locate_backbone
from training.backbones.settings import BackboneSettings
from training.metrics import QUEUE
from training.progress import Progress

# The row of `features` that holds the embedding of the empty caption, and nothing else.
EMPTY_CAPTION = "empty-caption"
ROWS_PER_COMMIT = 256
# A full-size row is 9 MB; what waits for its commit lies in the driver's memory.
BYTES_PER_COMMIT = 512 * 2**20
ENCODERS = ("vae", "text")


@dataclass
class EncodeReport:
    """What encoding did.

    Attributes:
        counts: `accepted` clips; of these `uncategorised` were left out, `present` had features, `encoded`
            got them and `failed` could not be read.
        failures: clip id to reason.
        bytes: of the features written.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    encoder_id: str
    bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)


class EncodeClips:
    """Actor: table (key: clip id) in, rows of `features` with a `reason` out; frames stay inside.

    The key EMPTY_CAPTION asks for the embedding of the empty caption.
    """

    def __init__(self, catalog: Catalog, backbone: BackboneSettings, settings: EncodeSettings) -> None:
        import torch

        self.catalog, self.settings = catalog, settings
        self.backbone = load_backbone(backbone, ENCODERS, "cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, batch: pa.Table) -> pa.Table:
        keys = batch["key"].to_pylist()
        clip_ids = [key for key in keys if key != EMPTY_CAPTION]
        found = self.catalog.get("clips", clip_ids, ["clip_id", "caption"]).to_pylist() if clip_ids else []
        captions = {row["clip_id"]: row["caption"] or "" for row in found}
        texts = self.backbone.encode_text([captions.get(key, "") for key in keys])
        rows = {
            key: {
                "clip_id": key,
                "encoder_id": self.backbone.encoder_id,
                "text_embedding": to_bytes(text),
                "text_shape": list(text.shape),
                "caption": captions.get(key, ""),
                "created_at": datetime.now(UTC),
            }
            for key, text in zip(keys, texts, strict=True)
        }
        for clip_id, frames, reason in read_stored(self.catalog, clip_ids):
            rows[clip_id] |= {"reason": reason} if frames is None else self._video(clip_id, frames)
        schema = SCHEMAS["features"].remove_metadata().append(pa.field("reason", pa.string()))
        return pa.Table.from_pylist(list(rows.values()), schema=schema)

    def _video(self, clip_id: str, frames) -> dict:
        mean, std = self.backbone.encode_video(frames)
        first = self.backbone.encode_first_frame(
            frames[0], self.settings.first_frame_variants, _seed(clip_id)
        )
        return {
            "latents_mean": to_bytes(mean),
            "latents_std": to_bytes(std),
            "latents_shape": list(mean.shape),
            "first_frame_latents": to_bytes(first),
            "first_frame_shape": list(first.shape),
        }


def encoder_of(settings: BackboneSettings) -> str:
    """The encoder_id of a backbone's VAE and text encoder, without loading them.

    Raises:
        WeightsUnreachable: the weights cannot be had.
    """
    return locate_backbone(settings, ENCODERS).encoder_id


def encode(
    catalog: Catalog,
    backbone: BackboneSettings,
    settings: EncodeSettings,
    progress: Progress | None = None,
    again: bool = False,
) -> EncodeReport:
    """Encode accepted clips with a category that lack features of this encoder, or whose caption has changed.

    Args:
        again: take what is stored for absent, as after a damaged disk; it is replaced.

    Raises:
        WeightsUnreachable: the backbone's weights cannot be had.
    """
    started = monotonic()
    encoder_id = encoder_of(backbone)
    clips = catalog.scan(
        "clips", ["clip_id", "category_id", "caption"], col("status") == Status.ACCEPTED
    ).to_pylist()
    wanted = {
        row["clip_id"]: row["caption"] or "" for row in clips if row["category_id"] or settings.uncategorised
    }
    present = {} if again else _present(catalog, encoder_id, settings.first_frame_variants)
    due = [clip_id for clip_id, caption in wanted.items() if present.get(clip_id) != caption]
    keys = due if EMPTY_CAPTION in present or not wanted else [EMPTY_CAPTION, *due]
    counts = {
        "accepted": len(clips),
        "uncategorised": len(clips) - len(wanted),
        "present": len(wanted) - len(due),
    }
    report = EncodeReport(counts | {"encoded": 0, "failed": 0}, len(due), 0.0, encoder_id)
    if progress:
        progress(0, len(due), {})
    made = map_keys(
        keys,
        EncodeClips,
        {"catalog": catalog, "backbone": backbone, "settings": settings},
        batch_size=settings.batch_size,
        actors=settings.actors,
        cpus=settings.cpus_per_actor,
        gpus=settings.gpus_per_actor,
        setting="encode",
    )
    for rows in gather(_told(made, len(due), progress), ROWS_PER_COMMIT, BYTES_PER_COMMIT):
        failed = rows.filter(pa.compute.is_valid(rows["reason"]))
        report.failures |= dict(zip(failed["clip_id"].to_pylist(), failed["reason"].to_pylist(), strict=True))
        good = rows.filter(pa.compute.is_null(rows["reason"])).drop_columns("reason")
        catalog.upsert("features", good)
        encoded = good.num_rows - good["clip_id"].to_pylist().count(EMPTY_CAPTION)
        report.counts["encoded"] += encoded
        tell_made("encode", encoded, failed["reason"].to_pylist())
        report.bytes += good.nbytes
    report.counts["failed"] = len(report.failures)
    report.seconds = monotonic() - started
    return report


def _present(catalog: Catalog, encoder_id: str, variants: int) -> dict[str, str]:
    """The caption that was embedded, by clip id, of the features that this encoder has stored."""
    columns = ["clip_id", "caption", "first_frame_shape"]
    rows = catalog.scan("features", columns, col("encoder_id") == encoder_id).to_pylist()
    return {
        row["clip_id"]: row["caption"]
        for row in rows
        if row["clip_id"] == EMPTY_CAPTION or (row["first_frame_shape"] or [0])[0] == 1 + variants
    }


def _told(tables: Iterable[pa.Table], total: int, progress: Progress | None) -> Iterator[pa.Table]:
    done = 0
    for table in tables:
        done += table.num_rows - table["clip_id"].to_pylist().count(EMPTY_CAPTION)
        QUEUE.set(total - done, stage="encode")
        if progress:
            progress(done, total, {})
        yield table


def _seed(clip_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=7).digest(), "big")
