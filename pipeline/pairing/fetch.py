"""Features by key, in Ray Data tasks: rows that name samples in, rows that hold their bytes out.

No torch here: a task's worker process imports this module and the catalogue, nothing heavier.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from lancedb.expr import col

from catalog.errors import CatalogError
from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.pairing.taught import read_taught

KEYS = pa.schema(
    [
        ("batch", pa.int64()),
        ("target_id", pa.string()),
        ("reference_ids", pa.list_(pa.string())),
        ("category", pa.string()),
        ("seed", pa.int64()),
        ("drop_caption", pa.bool_()),
        ("variant", pa.float64()),
    ]
)
BYTES, SHAPE = pa.large_binary(), pa.list_(pa.int32())
# What is read of every reference, by what a method calls it (`needs`): one entry a reference.
OF_REFERENCE = {
    "latents": ("latents_mean", "latents_shape"),
    "first_frame": ("first_frame_latents", "first_frame_shape"),
    "text": ("text_embedding", "text_shape"),
}
SAMPLES = KEYS
for _name, _kind in (
    ("target_mean", BYTES),
    ("target_std", BYTES),
    ("target_shape", SHAPE),
    ("first_frame", BYTES),
    ("first_frame_shape", SHAPE),
    ("text", BYTES),
    ("text_shape", SHAPE),
    ("error", pa.string()),
):
    SAMPLES = SAMPLES.append(pa.field(_name, _kind))
SAMPLES = SAMPLES.append(pa.field("reference_adapter", pa.list_(pa.float32())))
for _columns in OF_REFERENCE.values():
    for _name, _kind in zip(_columns, (BYTES, SHAPE), strict=True):
        SAMPLES = SAMPLES.append(pa.field(f"reference_{_name}", pa.list_(_kind)))


class MissingFeatures(PipelineError):
    """A clip of the plan has no features of the stream's encoder in the snapshot."""


@dataclass(frozen=True)
class FetchFeatures:
    """Callable of a Ray Data task: a table of KEYS in, the same rows with what they name out (SAMPLES).

    Attributes:
        catalog: a view of a snapshot.
        encoder_id: whose features are read.
        needs: what of a reference is read, see `MethodSettings.needs`.
        taught: the name of stored adapters: a sample's first reference brings its own; None: without.
    """

    catalog: Catalog
    encoder_id: str
    needs: frozenset[str]
    taught: str | None = None

    def __call__(self, keys: pa.Table) -> pa.Table:
        samples = keys.select(KEYS.names).to_pylist()
        mine = ["clip_id", "latents_mean", "latents_std", "latents_shape", "first_frame_latents"]
        targets = self._read({s["target_id"] for s in samples}, [*mine, "first_frame_shape"])
        captioned = {s["target_id"] for s in samples if not s["drop_caption"]}
        texts = self._read(captioned, ["clip_id", "text_embedding", "text_shape"])
        references = self._references(samples, targets)
        adapters = self._adapters({sample["reference_ids"][0] for sample in samples})
        rows = []
        for sample in samples:
            target = targets[sample["target_id"]]
            text = {} if sample["drop_caption"] else texts[sample["target_id"]]
            rows.append(
                sample
                | {
                    "target_mean": target["latents_mean"],
                    "target_std": target["latents_std"],
                    "target_shape": target["latents_shape"],
                    "first_frame": _variant(target, sample["variant"]),
                    "first_frame_shape": target["first_frame_shape"][1:],
                    "text": text.get("text_embedding"),
                    "text_shape": text.get("text_shape"),
                    "reference_adapter": adapters.get(sample["reference_ids"][0]),
                }
                | self._shown(sample, references)
            )
        return pa.Table.from_pylist(rows, schema=SAMPLES)

    def _references(self, samples: Sequence[dict], targets: dict[str, dict]) -> dict[str, dict]:
        """What is needed of all references, by clip."""
        columns = {column for need in self.needs for column in OF_REFERENCE[need]}
        if not columns:
            return {}
        wanted = {clip for sample in samples for clip in sample["reference_ids"]}
        if columns > set(OF_REFERENCE["latents"]):
            return self._read(wanted, ["clip_id", *sorted(columns)])
        # A clip that is both is not read twice for its latents.
        return targets | self._read(wanted - targets.keys(), ["clip_id", *sorted(columns)])

    def _adapters(self, clip_ids: set[str]) -> dict[str, np.ndarray]:
        """What teaches of these clips, by clip."""
        if self.taught is None:
            return {}
        found = read_taught(_here(self.catalog), self.taught, sorted(clip_ids))
        if missing := clip_ids - found.keys():
            raise MissingFeatures(
                f"{len(missing)} clips have no adapter of {self.taught!r}, such as {min(missing)}. Run"
                " `video2lora adapter fill` again."
            )
        return found

    def _shown(self, sample: dict, references: dict[str, dict]) -> dict[str, list | None]:
        """What a sample's references are to the method; without their captions where its own is dropped."""
        shown: dict[str, list | None] = {}
        for need in self.needs:
            data, shape = OF_REFERENCE[need]
            rows = [references[clip] for clip in sample["reference_ids"]]
            if need == "text" and sample["drop_caption"]:
                continue
            clean = need == "first_frame"
            shown[f"reference_{data}"] = [_variant(row) if clean else row[data] for row in rows]
            shown[f"reference_{shape}"] = [row[shape] for row in rows]
        return shown

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


def _variant(clip: dict, draw: float | None = None) -> memoryview:
    """The bytes of one encoding of the first frame: a noised one where there are any and one is drawn, else
    the clean one."""
    count = clip["first_frame_shape"][0]
    index = 0 if count == 1 or draw is None else 1 + int(draw * (count - 1))
    size = 2 * int(np.prod(clip["first_frame_shape"][1:], dtype=np.int64))
    return memoryview(clip["first_frame_latents"])[index * size : (index + 1) * size]
