"""What a search found, to look at: every clip plays, and says where its file lies."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from catalog.store import Catalog
from jobs.console import LONGEST_CELL
from jobs.report.render import render


def write_found(root: Path, catalog: Catalog, rows: Sequence[dict[str, Any]], asked: str) -> Path:
    """Write `root/search.html` and, beside it, the clips that it plays.

    Args:
        rows: of `clips`, with a `category` and, where something was compared, a `score`.
        asked: the words that were searched for.
    """
    assets = root / "search_files"
    assets.mkdir(parents=True, exist_ok=True)
    for old in assets.iterdir():
        old.unlink()
    clip_ids = [row["clip_id"] for row in rows]
    for kind, suffix in ((catalog.videos(clip_ids), "mp4"), (catalog.posters(clip_ids), "jpg")):
        for clip_id, data in kind.items():
            (assets / f"{clip_id}.{suffix}").write_bytes(data)
    shown = [_shown(row, assets) for row in rows]
    return render(root / "search.html", "search.html.j2", title="Search", subtitle=asked, rows=shown)


def _shown(row: dict[str, Any], assets: Path) -> dict[str, Any]:
    poster = assets / f"{row['clip_id']}.jpg"
    source = Path(row["source_uri"] or "")
    return {
        "clip_id": row["clip_id"],
        "category": row["category"],
        "caption": shorten(row.get("caption") or "", LONGEST_CELL),
        "score": row.get("score"),
        "source_uri": row["source_uri"],
        "link": source.absolute().as_uri() if row["source_uri"] and source.is_file() else None,
        "video": f"{assets.name}/{row['clip_id']}.mp4",
        "poster": f"{assets.name}/{poster.name}" if poster.exists() and poster.stat().st_size else None,
    }
