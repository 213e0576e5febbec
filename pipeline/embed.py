"""Clips to vectors: every accepted clip gets one descriptor of its CLIP frames, once per embedder."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

import numpy as np
import pyarrow as pa
from lancedb.expr import col

from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from catalog.vocabulary import Status
from pipeline.embedding.settings import EmbedSettings
from pipeline.stored import read_stored, tell_made
from pipeline.workers.actors import gather, map_keys
from training.metrics import QUEUE
from training.progress import Progress

__all__ = ["EmbedReport", "EmbedSettings", "embed"]

# Every commit is a version and small files; a lost commit is this many clips to embed again.
ROWS_PER_COMMIT = 256


@dataclass
class EmbedReport:
    """What embedding did.

    Attributes:
        counts: `accepted` clips in the catalogue, of which `present` had a vector, `embedded` got one and
            `failed` could not be read.
        failures: clip id to reason.
    """

    counts: dict[str, int]
    items: int
    seconds: float
    embedder_id: str
    failures: dict[str, str] = field(default_factory=dict)


class EmbedClips:
    """Actor: table (key: clip id) in, table (clip_id, embedding float32 [dim] or null, reason or null) out.

    Frames stay inside: the stored mp4 is read by key and decoded here.
    """

    def __init__(self, catalog: Catalog, settings: EmbedSettings) -> None:
        # open_clip takes seconds to import: only where it is used.
        from pipeline.embedding.embedder import Embedder

        self.catalog = catalog
        self.embedder = Embedder(settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        clip_ids = batch["key"].to_pylist()
        looks, reasons = {}, {}
        for clip_id, frames, reason in read_stored(self.catalog, clip_ids):
            if frames is None:
                reasons[clip_id] = reason
            else:
                looks[clip_id] = self.embedder.look(frames)
        made = self.embedder.embed_looks(list(looks.values())) if looks else ()
        vectors = dict(zip(looks, made, strict=True))
        return pa.table(
            {
                "clip_id": pa.array(clip_ids, pa.string()),
                "embedding": pa.array(
                    [vectors.get(clip_id) for clip_id in clip_ids], pa.list_(pa.float32(), self.embedder.dim)
                ),
                "reason": pa.array([reasons.get(clip_id) for clip_id in clip_ids], pa.string()),
            }
        )


def embed(
    catalog: Catalog, settings: EmbedSettings, progress: Progress | None = None, again: bool = False
) -> EmbedReport:
    """Embed the accepted clips that this embedder has not embedded yet.

    Args:
        again: all of them, also where the catalogue holds another embedder's vectors: these are replaced,
            and `cluster` makes prototypes of the new ones.

    Raises:
        UnknownEmbedder, EmbedderUnreachable: the model of the settings cannot be had.
        VectorMismatch: the catalogue holds vectors of another embedder.
    """
    from pipeline.embedding.clip_weights import find_clip
    from pipeline.embedding.descriptor import descriptor_size

    started = monotonic()
    files = find_clip(settings.model, settings.pretrained)
    embedder_id = files.embedder_id(settings.frames)
    dim = descriptor_size(int(files.config["embed_dim"]))
    ensure_vectors(catalog, "clips", "embedding", dim, embedder_id, replace=again)
    accepted = catalog.scan(
        "clips", ["clip_id", "embedder_id"], where=col("status") == Status.ACCEPTED
    ).to_pylist()
    due = [row["clip_id"] for row in accepted if again or row["embedder_id"] != embedder_id]
    counts = {"accepted": len(accepted), "present": len(accepted) - len(due), "embedded": 0, "failed": 0}
    report = EmbedReport(counts, len(due), 0.0, embedder_id)

    if progress:
        progress(0, len(due), {})

    def watched(tables):
        done = 0
        for table in tables:
            done += table.num_rows
            QUEUE.set(len(due) - done, stage="embed")
            if progress:
                progress(done, len(due), {})
            yield table

    made = map_keys(
        due,
        EmbedClips,
        {"catalog": catalog, "settings": settings},
        batch_size=settings.batch_size,
        actors=settings.actors,
        cpus=settings.cpus_per_actor,
        gpus=settings.gpus_per_actor,
        setting="embed",
    )
    for rows in gather(watched(made), ROWS_PER_COMMIT):
        failed = np.array([reason is not None for reason in rows["reason"].to_pylist()])
        failures = {row["clip_id"]: row["reason"] for row in rows.filter(pa.array(failed)).to_pylist()}
        report.failures |= failures
        good = rows.filter(pa.array(~failed)).select(["clip_id", "embedding"])
        now = pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), good.num_rows)
        good = good.append_column("embedder_id", pa.repeat(embedder_id, good.num_rows))
        report.counts["embedded"] += catalog.update("clips", good.append_column("updated_at", now))
        tell_made("embed", good.num_rows, failures.values())
    report.counts["failed"] = len(report.failures)
    report.seconds = monotonic() - started
    return report
