import json

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline
from safetensors import safe_open

from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V
from training.errors import BadMethodSettings, StateMismatch
from training.methods.lightlora.export import adapter_to_lora, load_lora, merge_lora, save_lora


@pytest.fixture
def live(tiny_folder):
    """A model with adapters that do something, inputs of its transformer, and what it returns."""
    method = disturb(build_method(tiny_folder, SMALL.model_copy(update={"scale": 0.7})), size=0.5)
    batch = random_batch(1)
    noisy, timesteps, _ = method.dit.objective.corrupt(batch.target_latents, batch.sample_seeds)
    arguments = (noisy, timesteps, batch.scene)
    with torch.no_grad():
        theta = method.condition(batch.references)
        with method.under(theta) as velocity:
            return method, theta, arguments, velocity(*arguments)


def test_the_exported_file_merged_into_plain_weights_equals_the_live_network(live, tiny_folder, tmp_path):
    method, theta, arguments, expected = live
    save_lora(tmp_path / "lora.safetensors", adapter_to_lora(method.adapters, theta[0]), {"model_id": "m1"})
    dit = load_backbone(tiny_folder).dit
    with torch.no_grad():
        frozen = dit.velocity(*arguments)
        lora = load_lora(tmp_path / "lora.safetensors")
        dit.module.load_state_dict(merge_lora(dit.module.state_dict(), lora))
        merged = dit.velocity(*arguments)
    assert torch.allclose(merged, expected, atol=5e-5)
    assert (frozen - expected).abs().max() > 1e-2
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        assert json.loads(file.metadata()["video2lora"]) == {"model_id": "m1"}


def test_the_file_has_the_names_shapes_and_layout_that_diffusers_reads(live, tiny_folder, tmp_path):
    method, theta, *_ = live
    save_lora(tmp_path / "pytorch_lora_weights.safetensors", adapter_to_lora(method.adapters, theta))
    read = CogVideoXImageToVideoPipeline.lora_state_dict(tmp_path, local_files_only=True)
    linears = dict(load_backbone(tiny_folder).transformer.named_modules())
    adapted = {key.rsplit(".lora_", 1)[0] for key in read}
    assert len(read) == 2 * len(adapted) == 2 * len(method.adapters)
    for name in adapted:
        module = linears[name.removeprefix("transformer.")]
        assert read[f"{name}.lora_A.weight"].shape == (1, module.in_features)
        assert read[f"{name}.lora_B.weight"].shape == (module.out_features, 1)


def test_the_exported_file_loads_into_diffusers_pipeline_and_equals_the_live_network(
    live, tiny_folder, tmp_path
):
    method, theta, arguments, expected = live
    save_lora(tmp_path / "effect.safetensors", adapter_to_lora(method.adapters, theta))
    pipeline = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipeline.load_lora_weights(tmp_path / "effect.safetensors", adapter_name="effect")
    theirs = CogVideoXDiT(pipeline.transformer, SCHEDULER_5B_I2V)
    with torch.no_grad():
        found = theirs.velocity(*arguments)
        pipeline.disable_lora()
        frozen = theirs.velocity(*arguments)
    assert pipeline.get_active_adapters() == ["effect"]
    assert torch.allclose(found, expected, atol=5e-5)
    assert (frozen - expected).abs().max() > 1e-2


def test_several_adapters_in_one_file_are_refused(live):
    method, theta, *_ = live
    with pytest.raises(BadMethodSettings, match="one by one"):
        adapter_to_lora(method.adapters, torch.cat([theta, theta]))


def test_a_lora_of_another_transformer_is_refused(live):
    method, theta, *_ = live
    with pytest.raises(StateMismatch, match="transformer_blocks"):
        merge_lora({}, adapter_to_lora(method.adapters, theta))
