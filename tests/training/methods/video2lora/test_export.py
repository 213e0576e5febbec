import json

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline
from safetensors import safe_open

from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.backbones.cogvideox.conditioning import predict_velocity
from training.errors import BadMethodSettings, StateMismatch
from training.methods.video2lora.export import adapter_to_lora, load_lora, merge_lora, save_lora


@pytest.fixture
def live(tiny_folder):
    """A model with adapters that do something, inputs of its transformer, and what it returns."""
    method = disturb(build_method(tiny_folder, SMALL.model_copy(update={"scale": 0.7})), size=0.5)
    batch = random_batch(1)
    noisy, timesteps, _ = method.diffusion.corrupt(batch.target_latents, batch.sample_seeds)
    arguments = (noisy, batch.first_frame_latents, batch.text_embeddings, timesteps)
    with torch.no_grad():
        theta = method.predict(batch.reference_latents, batch.reference_mask)
        with method.adapted(theta) as transformer:
            return method, theta, arguments, predict_velocity(transformer, *arguments)


def test_the_exported_file_merged_into_plain_weights_equals_the_live_network(live, tiny_folder, tmp_path):
    method, theta, arguments, expected = live
    save_lora(tmp_path / "lora.safetensors", adapter_to_lora(method, theta[0]), {"model_id": "m1"})
    plain = load_backbone(tiny_folder).transformer
    with torch.no_grad():
        frozen = predict_velocity(plain, *arguments)
        plain.load_state_dict(merge_lora(plain.state_dict(), load_lora(tmp_path / "lora.safetensors")))
        merged = predict_velocity(plain, *arguments)
    assert torch.allclose(merged, expected, atol=5e-5)
    assert (frozen - expected).abs().max() > 1e-2
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        assert json.loads(file.metadata()["video2lora"]) == {"model_id": "m1"}


def test_the_file_has_the_names_shapes_and_layout_that_diffusers_reads(live, tiny_folder, tmp_path):
    method, theta, *_ = live
    save_lora(tmp_path / "pytorch_lora_weights.safetensors", adapter_to_lora(method, theta))
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
    save_lora(tmp_path / "effect.safetensors", adapter_to_lora(method, theta))
    pipeline = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipeline.load_lora_weights(tmp_path / "effect.safetensors", adapter_name="effect")
    with torch.no_grad():
        found = predict_velocity(pipeline.transformer, *arguments)
        pipeline.disable_lora()
        frozen = predict_velocity(pipeline.transformer, *arguments)
    assert pipeline.get_active_adapters() == ["effect"]
    assert torch.allclose(found, expected, atol=5e-5)
    assert (frozen - expected).abs().max() > 1e-2


def test_several_adapters_in_one_file_are_refused(live):
    method, theta, *_ = live
    with pytest.raises(BadMethodSettings, match="one by one"):
        adapter_to_lora(method, torch.cat([theta, theta]))


def test_a_lora_of_another_transformer_is_refused(live):
    method, theta, *_ = live
    with pytest.raises(StateMismatch, match="transformer_blocks"):
        merge_lora({}, adapter_to_lora(method, theta))
