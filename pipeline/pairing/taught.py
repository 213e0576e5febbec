"""Adapters that teach: which clips have one under a name, and how far apart they are."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from lancedb.expr import col

from catalog.store import Catalog
from pipeline.errors import PipelineError

# At full size an adapter is 50 kB.
_AT_ONCE = 1_024


class NothingTaught(PipelineError):
    """Adapters that no lesson can be made of: none, or all the same."""


def taught_clips(catalog: Catalog, name: str) -> dict[str, str]:
    """The clips that have an adapter of that name, and a digest of each: other adapters make another lesson.

    Raises:
        NothingTaught: there are none.
    """
    rows = catalog.scan("adapters", ["clip_id", "projection"], col("model_id") == name).to_pylist()
    if not rows:
        others = sorted(set(catalog.scan("adapters", ["model_id"])["model_id"].to_pylist()))
        stored = f"; stored are those of {', '.join(others[-5:])}" if others else ""
        raise NothingTaught(
            f"No clip has an adapter of {name!r}{stored}. `video2lora adapter fill --model MODEL_ID` stores"
            " them, and says by which name they teach."
        )
    return {
        row["clip_id"]: hashlib.sha256(np.asarray(row["projection"], np.float32).tobytes()).hexdigest()[:16]
        for row in rows
    }


def read_taught(catalog: Catalog, name: str, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Adapters of that name by clip, fp32 [n] each; clips without one are left out."""
    where = col("clip_id").isin(sorted(clip_ids)).and_(col("model_id") == name)
    rows = catalog.scan("adapters", ["clip_id", "vector"], where)
    vectors = rows["vector"].combine_chunks() if rows.num_rows else pa.array([], pa.list_(pa.float32()))
    values = [vectors[at].values.to_numpy(zero_copy_only=False) for at in range(len(vectors))]
    return dict(zip(rows["clip_id"].to_pylist(), values, strict=True))


def spread_of(catalog: Catalog, name: str, clip_ids: Sequence[str]) -> float:
    """The mean squared distance of these clips' adapters from their mean, of each value.

    Raises:
        NothingTaught: all adapters are the same.
    """
    total: np.ndarray | float = 0.0
    squares, count = 0.0, 0
    ordered = sorted(clip_ids)
    for at in range(0, len(ordered), _AT_ONCE):
        found = read_taught(catalog, name, ordered[at : at + _AT_ONCE])
        part = np.array([found[clip] for clip in ordered[at : at + _AT_ONCE]], np.float64)
        total, squares, count = total + part.sum(axis=0), squares + float((part**2).sum()), count + len(part)
    mean = total / count
    spread = (squares / count - float((mean**2).sum())) / np.size(mean)
    # What rounding leaves of nothing is nothing.
    if spread <= 1e-9 * squares / count / np.size(mean):
        raise NothingTaught(
            f"All {count} adapters of {name!r} are the same, and nothing can be told apart: teach with clips"
            " of several effects, or polish for longer."
        )
    return spread
