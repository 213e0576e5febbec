"""The LoRA of a video in the files of other tools: loaded by diffusers and counted, and read back."""

import pytest
import torch
from diffusers import WanImageToVideoPipeline
from safetensors.torch import save_file

from tests.training.methods.lora_edit.small import RANK, build, load_wan
from tests.training.methods.lora_edit.test_method import disturb
from training.backbones.wan.dit import WanDiT
from training.backbones.wan.published import SCHEDULER_14B_I2V, meta_transformer
from training.errors import StateMismatch
from training.methods.registry import build_method, parse_settings


@pytest.fixture(scope="module")
def method(wan_folder):
    return disturb(build(load_wan(wan_folder, ["transformer"])))


def test_names_of_the_published_model_are_those_of_each_tool():
    with torch.device("meta"):
        settings = parse_settings({"kind": "lora_edit"})
        method = build_method(settings, WanDiT(meta_transformer(), SCHEDULER_14B_I2V))
    names = {form: set(_names(method, form)) for form in ("diffusers", "comfyui")}
    assert len(names["diffusers"]) == len(names["comfyui"]) == 2 * 400
    assert "transformer.blocks.39.attn2.to_out.0.lora_B.weight" in names["diffusers"]
    linears = ("self_attn.q", "self_attn.o", "cross_attn.k", "ffn.0", "ffn.2")
    for linear in linears:
        assert f"diffusion_model.blocks.7.{linear}.lora_A.weight" in names["comfyui"]
    assert not any("img" in name or "add_" in name for each in names.values() for name in each)


def _names(method, form):
    from training.methods.lora_edit.export import named

    for layer in method.lora.layers:
        yield from (f"{named(layer, form)}.lora_{which}.weight" for which in "AB")


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_diffusers_loads_every_tensor_of_either_form_and_predicts_the_same(
    wan_folder, method, tmp_path, form
):
    lora = method.export(method.condition(), form)
    save_file(lora, tmp_path / "lora.safetensors")
    pipe = WanImageToVideoPipeline.from_pretrained(wan_folder)
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    loaded = {name: value for name, value in pipe.transformer.named_parameters() if "lora_" in name}
    # diffusers adds zeros for the image's keys and values, which a LoRA of a text-to-video Wan lacks.
    added = {name for name, value in loaded.items() if "add_" in name and not value.any()}
    assert len(loaded) - len(added) == len(lora) == 2 * 10 * 4
    for layer, (down, up) in method.condition().items():
        assert torch.equal(loaded[f"{layer}.lora_A.default_0.weight"], down)
        assert torch.equal(loaded[f"{layer}.lora_B.default_0.weight"], up)
    latents = torch.randn(1, 36, 3, 4, 6)
    text, image = torch.randn(1, 512, 32), torch.randn(1, 17, 32)
    told = {
        "hidden_states": latents,
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": text,
        "encoder_hidden_states_image": image,
        "return_dict": False,
    }
    with torch.no_grad():
        torch.testing.assert_close(pipe.transformer(**told)[0], method.transformer(**told)[0])


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_a_file_of_either_form_is_read_back_alpha_multiplied_in(wan_folder, method, tmp_path, form):
    lora = method.export(method.condition(), form)
    first = next(name for name in lora if name.endswith("lora_A.weight")).removesuffix(".lora_A.weight")
    save_file(lora | {f"{first}.alpha": torch.tensor(RANK / 2)}, tmp_path / "lora.safetensors")
    other = build(load_wan(wan_folder, ["transformer"]))
    other.load_lora(tmp_path / "lora.safetensors")
    for number, (name, (down, up)) in enumerate(other.condition().items()):
        theirs = method.condition()[name]
        assert torch.equal(down, theirs[0])
        assert torch.equal(up, theirs[1] * (0.5 if number == 0 else 1))


def test_a_pickle_and_loras_of_other_layers_are_refused_in_one_sentence(wan_folder, method, tmp_path):
    other = build(load_wan(wan_folder, ["transformer"]))
    before = {name: value.clone() for name, value in other.trainable_state().items()}
    torch.save({"a": torch.zeros(1)}, tmp_path / "lora.pt")
    with pytest.raises(StateMismatch, match="never from a pickle"):
        other.load_lora(tmp_path / "lora.pt")
    with pytest.raises(StateMismatch, match="no safetensors file"):
        other.load_lora(tmp_path / "nowhere.safetensors")
    lora = method.export(method.condition())
    changes = {
        "2 of 80 tensors are missing": {n: v for n, v in lora.items() if "blocks.1.attn2.to_k" not in n},
        "is none of this Wan's": lora
        | {"transformer.blocks.0.attn2.add_k_proj.lora_A.weight": torch.ones(1)},
        "80 of 80 tensors are missing": {
            name.replace("transformer.blocks", "lora_unet_blocks"): value for name, value in lora.items()
        },
        "set edit.rank=2": {
            n: v[:2] if n.endswith("A.weight") else v[:, :2].contiguous() for n, v in lora.items()
        },
        "another model's": {
            n: torch.zeros(RANK, 7) if n.endswith("A.weight") else v for n, v in lora.items()
        },
    }
    for says, tensors in changes.items():
        save_file(tensors, tmp_path / "lora.safetensors")
        with pytest.raises(StateMismatch, match=says):
            other.load_lora(tmp_path / "lora.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in other.trainable_state().items())
