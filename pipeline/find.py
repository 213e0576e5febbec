"""Clips by words, by example, by filter, or by all of them."""

from collections.abc import Sequence
from typing import Any

from catalog.names import CategoryNames
from catalog.search import clip_filter, search_text, search_vector
from catalog.store import Catalog
from pipeline.embedding.settings import EmbedSettings
from pipeline.example import read_example


def find_clips(
    catalog: Catalog,
    words: str | None = None,
    like: str | None = None,
    where: str | None = None,
    limit: int = 10,
    settings: EmbedSettings | None = None,
) -> list[dict[str, Any]]:
    """Rows of `clips` with a `score`, best first, without their vectors; see `find_hits`."""
    rows = find_hits(catalog, words, like, where, limit, settings)
    facts = {
        row["clip_id"]: row for row in catalog.get("clips", [row["clip_id"] for row in rows]).to_pylist()
    }
    hidden = {"embedding", "phash", "colours"}
    return [{k: v for k, v in facts[r["clip_id"]].items() if k not in hidden} | r for r in rows]


def find_hits(
    catalog: Catalog,
    words: str | None = None,
    like: str | Sequence[float] | None = None,
    where: str | None = None,
    limit: int = 10,
    settings: EmbedSettings | None = None,
) -> list[dict[str, Any]]:
    """`clip_id`, `category` (its name) and, where something was compared, `score` of clips, best first.

    With words and an example, the words choose the clips and the example orders them.

    Args:
        words: to look for in captions and categories.
        like: an example: a clip_id, a video file, or a vector of the catalogue's embedder.
        where: a filter over the clips' columns.
        limit: how many at most.
        settings: of the embedder that sees an example from a file.

    Raises:
        CatalogError: a filter that cannot be read, or vectors of another embedder.
        BadSource: an example that is neither a clip nor a video.
    """
    condition = clip_filter(catalog, where) if where else None
    if like is not None:
        vector = _example(catalog, like, settings or EmbedSettings()) if isinstance(like, str) else like
        pool = catalog.count("clips") if words else limit
        rows = search_vector(catalog, vector, condition, pool)
        if words:
            named = {row["clip_id"] for row in search_text(catalog, words, condition, pool)}
            rows = [row for row in rows if row["clip_id"] in named][:limit]
        return rows
    if words is not None:
        return search_text(catalog, words, condition, limit)
    names = CategoryNames.load(catalog)
    found = catalog.scan("clips", ["clip_id", "category_id"], condition).to_pylist()
    rows = sorted(found, key=lambda row: row["clip_id"])[:limit]
    return [{"clip_id": row["clip_id"], "category": names.name_of(row["category_id"])} for row in rows]


def _example(catalog: Catalog, like: str, settings: EmbedSettings) -> list[float]:
    """The vector of an example: a clip's own, or that of a video file."""
    known = catalog.get("clips", [like]).to_pylist()
    if known and known[0].get("embedding") is not None:
        return known[0]["embedding"]
    from pipeline.embedding.embedder import Embedder  # only now: it loads torch

    frames = read_example(like, catalog.spec)
    return Embedder(settings).embed_frames(frames).tolist()
