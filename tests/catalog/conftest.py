"""A new catalogue of small clips."""

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog


@pytest.fixture
def spec() -> ClipSpec:
    return ClipSpec(num_frames=5, fps=8, height=64, width=96)


@pytest.fixture
def catalog(tmp_path, spec) -> Catalog:
    return Catalog.create(tmp_path / "catalogue", spec)
