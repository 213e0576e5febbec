"""Clips by words and by what they show: two rankings fused, so that a clip without a caption is found too."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from lancedb.expr import Expr
from lancedb.rerankers import RRFReranker

from catalog.names import CategoryNames
from catalog.search.clips import ROW, Clips
from catalog.search.hits import read
from catalog.search.text import INDEX_ROWS, TEXT_INDEX, said_by
from catalog.search.vector import INDEX, VECTOR_INDEX_ROWS, checked, nearest
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
        CatalogError, VectorMismatch: as `search_vector` and `search_text`.
    """
    clips = Clips.of(catalog)
    values = checked(clips, vector, "embedding")
    by_text, by_vector = (clips.pays(each) for each in index_rows)
    if by_text or by_vector:
        wanted = {"caption": TEXT_INDEX} if by_text else {}
        clips = clips.ready(wanted | ({"embedding": INDEX} if by_vector else {}), where)
    names = CategoryNames.load(catalog, clips.version)
    depth = max(0, _DEPTH * limit)
    reason = f"it looks like “{query.strip()[:60]}”"

    def seen() -> list[dict]:
        # So deep in a ranking a place says little: no more than the depth itself is compared exactly.
        return nearest(clips, values, where, depth, "embedding", by_vector, reason, refine=1) if depth else []

    with ThreadPoolExecutor(1) as beside:
        shown_later = beside.submit(seen)
        said = said_by(clips, names, query, where, depth, by_text)
        shown = shown_later.result()
    rankings = [pa.table({ROW: pa.array([row[ROW] for row in each], pa.uint64())}) for each in (shown, said)]
    order = RRFReranker().rerank_hybrid(query, *rankings).slice(0, max(0, limit))
    why: dict[int, list[str]] = {}
    for row in (*said, *shown):
        why.setdefault(row[ROW], []).append(row["why"])
    found = [
        {ROW: row, "score": score, "why": "; ".join(why[row])}
        for row, score in zip(order[ROW].to_pylist(), order["_relevance_score"].to_pylist(), strict=True)
    ]
    return read(clips, found, names)
