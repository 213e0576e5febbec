"""Fixtures of the pipeline room: what edits are tested on."""

import pytest

from tests.pipeline.editing.small import SPEC, new_catalog, write_files
from training.backbones.geometry import SampleGeometry
from training.backbones.wan.small import write_tiny_backbone


@pytest.fixture(scope="session")
def wan(tmp_path_factory):
    """A folder with a small Wan's random weights."""
    geometry = SampleGeometry(SPEC.num_frames, SPEC.height, SPEC.width)
    return write_tiny_backbone(tmp_path_factory.mktemp("wan") / "tiny", 1, geometry, 16)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, str]:
    """A video, its edited frames, masks."""
    return write_files(tmp_path_factory.mktemp("edit files"))


@pytest.fixture
def catalog(tmp_path):
    return new_catalog(tmp_path)
