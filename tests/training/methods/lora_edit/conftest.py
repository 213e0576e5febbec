"""A small Wan of this folder's tests."""

from pathlib import Path

import pytest

from tests.training.small_backbones import GEOMETRY, TEXT_TOKENS
from training.backbones.wan.small import write_tiny_backbone


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("wan") / "tiny", 1, GEOMETRY, TEXT_TOKENS)
