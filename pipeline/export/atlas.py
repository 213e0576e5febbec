"""A map of clips for other tools' atlases: two coordinates, and the nearest clips of each."""

import numpy as np
import pyarrow as pa

from catalog.store import Catalog
from catalog.vectors import unit
from pipeline.errors import PipelineError

_NEIGHBOURS = 15
_PERPLEXITY = 30


class NoVectors(PipelineError):
    """A map is asked for and clips have no vectors."""


def atlas(catalog: Catalog, clip_ids: list[str], column: str = "embedding") -> dict[str, dict]:
    """`x`, `y` and `neighbors` (`ids`: numbers of rows, `distances`: 1 - cosine) of each embedded clip.

    t-SNE of the vectors; the same vectors give the same map.

    Raises:
        NoVectors: none of the clips is embedded.
    """
    schema = catalog.schema("clips")
    known: dict[str, list[float] | None] = {}
    if column in schema.names and pa.types.is_fixed_size_list(schema.field(column).type):
        rows = catalog.get("clips", clip_ids, ["clip_id", column]).to_pylist()
        known = {row["clip_id"]: row[column] for row in rows}
    there = [key for key in clip_ids if known.get(key) is not None]
    if not there:
        raise NoVectors(f"None of {len(clip_ids)} clips has a vector; run `video2lora embed` first.")
    vectors = unit(np.array([known[key] for key in there], dtype=np.float32).reshape(len(there), -1))
    ids, distances = _nearest(vectors)
    return {
        key: {"x": float(x), "y": float(y), "neighbors": {"ids": near.tolist(), "distances": far.tolist()}}
        for key, (x, y), near, far in zip(there, _flat(vectors), ids, distances, strict=True)
    }


def _flat(vectors: np.ndarray) -> np.ndarray:
    """Coordinates [n, 2]."""
    if len(vectors) < 5:
        centred = vectors - vectors.mean(axis=0)
        axes = np.linalg.svd(centred, full_matrices=False)[2]
        flat = centred @ axes[:2].T
        return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    from sklearn.manifold import TSNE  # a second to import

    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(vectors)


def _nearest(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    many = min(_NEIGHBOURS, len(vectors) - 1)
    ids, far = [], []
    for start in range(0, len(vectors), 1024):
        cosines = vectors[start : start + 1024] @ vectors.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :many]
        ids.append(order)
        far.append(1.0 - np.take_along_axis(cosines, order, axis=1))
    return np.concatenate(ids), np.concatenate(far)
