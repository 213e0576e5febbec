"""A new catalogue of small clips, and one with clips as ingestion and `cluster` leave them."""

import pytest

from catalog.clip_spec import ClipSpec
from catalog.curation import Author
from catalog.store import Catalog
from tests.catalog.curated import CLIPS


@pytest.fixture
def spec() -> ClipSpec:
    return ClipSpec(num_frames=5, fps=8, height=64, width=96)


@pytest.fixture
def catalog(tmp_path, spec) -> Catalog:
    return Catalog.create(tmp_path / "catalogue", spec)


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
