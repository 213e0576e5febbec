"""A catalogue with clips of three categories, as ingestion and `cluster` leave it."""

import pytest

from catalog.curation import Author
from catalog.store import Catalog

CLIPS = {f"{category[0]}{n}aaaaa": category for category in ("melt", "drip", "snow") for n in range(4)}


@pytest.fixture
def ann() -> Author:
    return Author("ann")


@pytest.fixture
def curated(catalog) -> Catalog:
    """Clips m0aaaaa to m3aaaaa of melt, d… of drip, s… of snow, each with its source."""
    said = {"status": "accepted", "category_source": "label", "category_confidence": 1.0, "split": "train"}
    catalog.upsert(
        "clips",
        [
            {"clip_id": c, "category_id": k, "source_uri": f"{c}.mp4", "sha256": f"sha-{c}", **said}
            for c, k in CLIPS.items()
        ],
    )
    catalog.upsert(
        "sources",
        [
            {"source_uri": f"{c}.mp4", "outcome": "accepted", "clip_ids": [c], "label": CLIPS[c]}
            for c in CLIPS
        ],
    )
    names = ("melt", "drip", "snow")
    catalog.upsert(
        "categories", [{"category_id": c, "name": c, "aliases": [], "state": "active"} for c in names]
    )
    return catalog


def rows_of(catalog: Catalog, *columns: str) -> dict[str, tuple]:
    """Columns of every clip, by the first two signs of its id."""
    rows = catalog.scan("clips", ["clip_id", *columns]).to_pylist()
    return {row["clip_id"][:2]: tuple(row[name] for name in columns) for row in rows}


def everything(catalog: Catalog) -> dict[str, list]:
    """All that acts change, without the times at which rows were written."""
    tables = ("clips", "categories", "sources", "pairs")
    return {
        name: sorted(
            ({k: v for k, v in row.items() if k != "updated_at"} for row in catalog.scan(name).to_pylist()),
            key=str,
        )
        for name in tables
    }
