"""Clips by what a model makes of them: those whose adapters point the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from lancedb.expr import Expr, col

from catalog.errors import CatalogError, VectorMismatch
from catalog.names import CategoryNames
from catalog.search.hits import COLUMNS, best
from catalog.store import Catalog

# Of fewer adapters the mean says nothing of what they have in common.
_FEW = 8


def search_adapter(
    catalog: Catalog,
    projection: Sequence[float],
    model_id: str,
    where: Expr | None = None,
    limit: int = 20,
    likeness: str = "the example",
) -> list[dict]:
    """Clips whose adapter under a model is like one, the best first. All are compared: exact, one scan.

    What all adapters of a model have in common says nothing about any: their mean is taken off first.

    Args:
        projection: as `adapters.projection` has it, shape [dim].
        where: only these clips.
        likeness: what the projection stands for, to say why a clip was found.

    Returns:
        As `search_vector`; `score` is the cosine similarity, -1 to 1.

    Raises:
        CatalogError: no clip has an adapter of the model.
        VectorMismatch: the projection is not finite, or of another length.
    """
    rows = catalog.scan("adapters", ["clip_id", "projection"], col("model_id") == model_id)
    if not rows.num_rows:
        raise CatalogError(
            f"No clip has an adapter of model {model_id}; predict them with `video2lora adapter fill`."
        )
    wanted = np.asarray(projection, np.float32)
    held = list(zip(rows["clip_id"].to_pylist(), rows["projection"].to_pylist(), strict=True))
    fitting = [(clip, vector) for clip, vector in held if len(vector) == len(wanted)]
    if not fitting or not all(map(math.isfinite, wanted)):
        raise VectorMismatch(
            f"The example has {len(wanted)} numbers, and stored adapters have {len(held[0][1])}; store them"
            " again with `video2lora adapter fill --again`."
        )
    allowed = None
    if where is not None:
        allowed = set(catalog.scan("clips", ["clip_id"], where)["clip_id"].to_pylist())
    matrix = np.array([vector for _, vector in fitting], np.float32)
    if len(matrix) >= _FEW:
        matrix, wanted = matrix - matrix.mean(0), wanted - matrix.mean(0)
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
    scores = matrix @ wanted / np.maximum(lengths, 1e-12)
    order = np.argsort(-scores, kind="stable").tolist()
    chosen = [p for p in order if allowed is None or fitting[p][0] in allowed][: max(0, limit)]
    score_of = {fitting[place][0]: float(scores[place]) for place in chosen}
    found = [
        row | {"score": score, "why": f"its adapter is like that of {likeness} ({score:.2f})"}
        for row in catalog.get("clips", list(score_of), COLUMNS).to_pylist()
        for score in [score_of[row["clip_id"]]]
    ]
    return best(found, CategoryNames.load(catalog), limit)
