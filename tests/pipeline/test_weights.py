"""What a run loads is looked for before anything else, and all that is missing is said at once."""

import pytest

from pipeline.embedding.settings import EmbedSettings
from pipeline.weights import WeightsMissing, require_weights
from training.backbones.settings import BackboneSettings


def test_all_weights_that_a_run_lacks_are_named_at_once_with_what_to_fetch(tmp_path):
    backbone = BackboneSettings(model="zai-org/CogVideoX-5b-I2V")
    with pytest.raises(WeightsMissing) as refused:
        require_weights(backbone, EmbedSettings(), str(tmp_path / "no-model"), "video2lora")
    said = str(refused.value)
    assert "hf download zai-org/CogVideoX-5b-I2V" in said
    assert "hf download timm/vit_large_patch14_clip_224.openai open_clip_model.safetensors" in said
    assert "no-model" in said


def test_weights_that_are_there_are_enough(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path))
    require_weights(
        BackboneSettings(model="pocket", height=64, width=96, max_text_tokens=32, dtype="float32"),
        EmbedSettings(model="tiny", pretrained="random:0"),
        "pocket",
        "video2lora",
    )
