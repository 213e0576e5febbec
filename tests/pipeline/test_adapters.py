"""What speaks against a reference is said."""

import json
import struct

import numpy as np
import pytest
import torch

from pipeline.adapters import Adapter, Reference, predict_adapter, save_adapter
from pipeline.errors import BadSource
from tests.pipeline.editing.small import new_catalog
from tests.training.small_backbones import ADAPTERS, load_backbone
from training.methods.registry import build_method, parse_settings
from training.release import Release


def test_a_reference_without_an_effect_is_told():
    moving = np.random.default_rng(0).integers(0, 255, (49, 16, 24, 3)).astype(np.uint8)
    assert Reference("a", moving).notes() == []
    assert "black" in Reference("a", moving // 128).notes()[0]
    assert "stands still" in Reference("a", np.repeat(moving[:1], 49, axis=0)).notes()[0]
    few = moving[np.arange(49) // 10]
    assert "5 different frames" in Reference("a", few).notes()[0]


def test_at_full_size_the_file_of_an_adapter_is_50400_bytes_and_its_header(tmp_path):
    facts = {"model_id": "video2lora-0123456789ab", "reference": "a file", "prompt": "a red mug on a table"}
    path = tmp_path / "adapter.safetensors"
    size = save_adapter(path, Adapter(torch.randn(1, 168, 150), None, facts))
    header = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert size == 8 + header + 50_400
    assert header < 500 and json.loads(path.read_bytes()[8 : 8 + header])["adapter"]["dtype"] == "BF16"


def test_where_each_category_has_an_adapter_a_reference_is_a_clip_of_one_that_trained(tmp_path):
    backbone = load_backbone(tmp_path / "tiny")
    method = build_method(parse_settings(ADAPTERS | {"kind": "category_lora"}), backbone.dit, ("melt",))
    release = Release("category_lora-0123456789ab", tmp_path, {"categories": ["melt"]})
    known = (backbone, method, release, new_catalog(tmp_path))
    frames = np.zeros((9, 32, 48, 3), dtype=np.uint8)
    made = predict_adapter(*known, Reference("a clip", frames, "melt"))
    assert made.facts["category"] == "melt" and any(name.endswith("lora_A.weight") for name in made.lora)
    for reference in (Reference("stranger.mp4", frames), Reference("another clip", frames, "glow")):
        with pytest.raises(BadSource, match="one adapter per category, and none for") as refused:
            predict_adapter(*known, reference)
        assert "name a clip_id of one of melt" in str(refused.value)
