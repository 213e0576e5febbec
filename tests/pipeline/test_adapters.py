"""What speaks against a reference is said."""

import json
import struct

import numpy as np
import torch

from pipeline.adapters import Adapter, Reference, save_adapter


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
