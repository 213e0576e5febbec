"""Features by key, in Ray Data tasks: rows that name samples in, rows that hold their bytes out.

No torch here: a task's worker process imports this module and the catalogue, nothing heavier.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from lancedb.expr import col

from catalog.errors import CatalogError
from catalog.store import Catalog
from pipeline.errors import PipelineError

KEYS = pa.schema(
    [
        ("batch", pa.int64()),
        ("target_id", pa.string()),
        ("reference_id", pa.string()),
        ("category", pa.string()),
        ("seed", pa.int64()),
        ("drop_caption", pa.bool_()),
        ("variant", pa.float64()),
    ]
)
BYTES, SHAPE = pa.large_binary(), pa.list_(pa.int32())
SAMPLES = KEYS
for _name, _kind in (
    ("target_mean", BYTES),
    ("target_std", BYTES),
    ("target_shape", SHAPE),
    ("reference_mean", BYTES),
    ("reference_shape", SHAPE),
    ("first_frame", BYTES),
    ("text", BYTES),
    ("text_shape", SHAPE),
    ("error", pa.string()),
):
    SAMPLES = SAMPLES.append(pa.field(_name, _kind))


class MissingFeatures(PipelineError):
    """A clip of the plan has no features of the stream's encoder in the snapshot."""


@dataclass(frozen=True)
class FetchFeatures:
    """Callable of a Ray Data task: a table of KEYS in, the same rows with what they name out (SAMPLES).

    Attributes:
        catalog: a view of a snapshot.
        encoder_id: whose features are read.
        needs: what of a reference is read, see `MethodSettings.needs`.
    """

    catalog: Catalog
    encoder_id: str
    needs: frozenset[str]

    def __call__(self, keys: pa.Table) -> pa.Table:
        samples = keys.select(KEYS.names).to_pylist()
        mine = ["clip_id", "latents_mean", "latents_std", "latents_shape", "first_frame_latents"]
        targets = self._read({s["target_id"] for s in samples}, [*mine, "first_frame_shape"])
        captioned = {s["target_id"] for s in samples if not s["drop_caption"]}
        texts = self._read(captioned, ["clip_id", "text_embedding", "text_shape"])
        references: dict[str, dict] = {}
        if "latents" in self.needs:
            # A clip that is both is not read twice for its latents.
            others = {s["reference_id"] for s in samples} - targets.keys()
            references = targets | self._read(others, ["clip_id", "latents_mean", "latents_shape"])
        rows = []
        for sample in samples:
            target, reference = targets[sample["target_id"]], references.get(sample["reference_id"], {})
            text = {} if sample["drop_caption"] else texts[sample["target_id"]]
            rows.append(
                sample
                | {
                    "target_mean": target["latents_mean"],
                    "target_std": target["latents_std"],
                    "target_shape": target["latents_shape"],
                    "reference_mean": reference.get("latents_mean"),
                    "reference_shape": reference.get("latents_shape"),
                    "first_frame": _variant(target, sample["variant"]),
                    "text": text.get("text_embedding"),
                    "text_shape": text.get("text_shape"),
                }
            )
        return pa.Table.from_pylist(rows, schema=SAMPLES)

    def _read(self, clip_ids: set[str], columns: list[str]) -> dict[str, dict]:
        if not clip_ids:
            return {}
        where = col("clip_id").isin(sorted(clip_ids)).and_(col("encoder_id") == self.encoder_id)
        rows = {
            row["clip_id"]: row for row in _here(self.catalog).scan("features", columns, where).to_pylist()
        }
        if missing := clip_ids - rows.keys():
            raise MissingFeatures(
                f"{len(missing)} clips have no features of encoder {self.encoder_id[:12]}, such as "
                f"{min(missing)}. Run `video2lora encode` with the backbone that is trained."
            )
        return rows


@dataclass(frozen=True)
class FetchOrTell:
    """The same, but what a person has to put right comes out as rows whose `error` says it.

    An exception would leave Ray Data as the text of two tracebacks.
    """

    fetch: FetchFeatures

    def __call__(self, keys: pa.Table) -> pa.Table:
        try:
            return self.fetch(keys)
        except (PipelineError, CatalogError) as error:
            rows = [row | {"error": str(error)} for row in keys.select(KEYS.names).to_pylist()]
            return pa.Table.from_pylist(rows, schema=SAMPLES)


_OPEN: dict[str, Catalog] = {}


def _here(catalog: Catalog) -> Catalog:
    """The process's own handle on the catalogue, kept from task to task with its connection."""
    place = f"{catalog.uri} {catalog.pinned}"
    return _OPEN.setdefault(place, catalog)


def _variant(target: dict, draw: float) -> memoryview:
    """The bytes of one encoding of the first frame: a noised one where there are any, else the clean one."""
    count = target["first_frame_shape"][0]
    index = 0 if count == 1 else 1 + int(draw * (count - 1))
    size = 2 * int(np.prod(target["first_frame_shape"][1:], dtype=np.int64))
    return memoryview(target["first_frame_latents"])[index * size : (index + 1) * size]
