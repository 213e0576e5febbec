"""Clips by words and by what they show: two rankings fused, so that a clip without a caption is found too."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from lancedb.expr import Expr
from lancedb.rerankers import RRFReranker

from catalog.search.text import INDEX_ROWS, search_text
from catalog.search.vector import VECTOR_INDEX_ROWS, search_vector
from catalog.store import Catalog

# Each ranking is read to this multiple of what is asked for: what both have is in front, wherever it stood.
_DEPTH = 5


def search_words(
    catalog: Catalog,
    query: str,
    vector: Sequence[float],
    where: Expr | None = None,
    limit: int = 20,
    index_rows: tuple[int, int] = (INDEX_ROWS, VECTOR_INDEX_ROWS),
) -> list[dict]:
    """Clips that say the words of a query, or show them, the best first (reciprocal rank fusion).

    Args:
        catalog: the catalogue, or a view of the past.
        query: words.
        vector: the same words as a question to the clips' vectors, shape [dim].
        where: only these clips.
        limit: at most so many.
        index_rows: number of clips from which on the text index and the vector index are used.

    Returns:
        As `search_text`, with both reasons in `why` where a clip has both; `score` is of the fusion and
        means nothing but the order.

    Raises:
        CatalogError, VectorMismatch: as `search_vector`.
    """
    depth = max(0, _DEPTH * limit)
    said = search_text(catalog, query, where, depth, index_rows[0])
    reason = f"it looks like “{query.strip()[:60]}”"
    shown = search_vector(catalog, vector, where, depth, index_rows=index_rows[1], reason=reason)
    rows = {row["clip_id"]: row for row in (*shown, *said)}
    places = {clip_id: number for number, clip_id in enumerate(rows)}
    rankings = [
        pa.table({"_rowid": pa.array([places[row["clip_id"]] for row in each], pa.int64())})
        for each in (shown, said)
    ]
    order = RRFReranker().rerank_hybrid(query, *rankings)
    reasons: dict[str, list[str]] = {}
    for row in (*said, *shown):
        reasons.setdefault(row["clip_id"], []).append(row["why"])
    clip_ids = list(rows)
    return [
        rows[clip_id] | {"score": score, "why": "; ".join(reasons[clip_id])}
        for clip_id, score in (
            (clip_ids[row["_rowid"]], row["_relevance_score"]) for row in order.to_pylist()[: max(0, limit)]
        )
    ]
