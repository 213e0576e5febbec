"""Pictures of every category: contact sheets of the largest, posters of the others."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lancedb.expr import col
from PIL import Image

from catalog.store import Catalog
from catalog.vocabulary import Status
from jobs.report.pictures import MAX_ROWS, contact_sheet, poster_row
from pipeline.video.transcode import read_clip

# A sheet takes four clips to be decoded, a quarter of a second; the posters of the others are there already.
MAX_SHEETS = 60
WITHOUT = "(none)"


@dataclass(frozen=True)
class Sheet:
    """A category as the page shows it; `image` relative to the page, None where a clip has no picture."""

    name: str
    state: str
    clips: int
    image: str | None


def draw_sheets(catalog: Catalog, assets: Path) -> tuple[list[Sheet], list[Sheet]]:
    """Every category, largest first: those with a contact sheet, and those with posters.

    A picture of an earlier run that shows the same clips is kept, one that shows others is removed.
    """
    clips = catalog.scan("clips", ["clip_id", "category_id"], col("status") == Status.ACCEPTED).to_pylist()
    members: dict[str, list[str]] = {}
    for clip in sorted(clips, key=lambda each: each["clip_id"]):
        members.setdefault(clip["category_id"] or WITHOUT, []).append(clip["clip_id"])
    facts = {
        row["category_id"]: row
        for row in catalog.scan("categories", ["category_id", "name", "state"]).to_pylist()
    }
    order = sorted(members, key=lambda name: (-len(members[name]), name))

    def sheet(category: str, kind: str, draw: Callable[[Catalog, list[str]], bytes | None]) -> Sheet:
        shown = members[category][:MAX_ROWS]
        # Named by what it shows: a category's name is a stranger's text.
        file = assets / f"{kind}-{hashlib.sha256(' '.join(shown).encode()).hexdigest()[:16]}.jpg"
        if not file.exists() and (image := draw(catalog, shown)) is not None:
            file.write_bytes(image)
        row = facts.get(category, {})
        state = row.get("state") or ("without a label" if category == WITHOUT else "as labelled")
        image = f"{assets.name}/{file.name}" if file.exists() else None
        return Sheet(row.get("name") or category, state, len(members[category]), image)

    large = [sheet(category, "sheet", _sheet) for category in order[:MAX_SHEETS]]
    small = [sheet(category, "posters", _posters) for category in order[MAX_SHEETS:]]
    used = {Path(each.image).name for each in [*large, *small] if each.image}
    for kind in ("sheet", "posters"):
        for file in assets.glob(f"{kind}-*.jpg"):
            if file.name not in used:
                file.unlink()
    return large, small


def _sheet(catalog: Catalog, clip_ids: list[str]) -> bytes:
    videos = catalog.videos(clip_ids)
    return contact_sheet([read_clip(videos[clip_id]) for clip_id in clip_ids])


def _posters(catalog: Catalog, clip_ids: list[str]) -> bytes | None:
    posters = catalog.posters(clip_ids)
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in posters.values() if data]
    return poster_row(images) if images else None
