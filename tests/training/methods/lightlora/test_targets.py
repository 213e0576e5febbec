"""Exports, each loaded by its target's own mapping of names, and counted.

The mappings are re-stated from the targets' sources: ComfyUI's `comfy/lora.py` and
`comfy/ldm/cogvideo/model.py`, kijai's `model_loading.py`, diffusers' loader as it is.
"""

from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline
from safetensors.torch import load_file

from tests.training.small_backbones import SMALL, build_method, disturb, random_batch
from training.errors import BadAdapter
from training.methods.lightlora.export import adapter_to_lora, save_lora
from training.methods.lightlora.targets import TARGETS, linear_of, loaded_by, lora_for, stem_of

OUT = Path("melt.safetensors")


@pytest.fixture(scope="module")
def method(tiny_folder):
    return disturb(build_method(tiny_folder, SMALL), size=0.5)


@pytest.fixture(scope="module")
def lora(method) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return adapter_to_lora(method.adapters, method.condition(random_batch(1).references))


def comfyui_loads(lora: dict[str, torch.Tensor], blocks: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The updates by weight, and what is left with one line "lora key not loaded"."""
    linears = ("norm1.linear", "q", "k", "v", "attn_out", "norm2.linear", "ff_proj", "ff_out")
    weights = [f"diffusion_model.blocks.{i}.{name}.weight" for i in range(blocks) for name in linears]
    weights += ["diffusion_model.patch_embed.proj.weight", "diffusion_model.proj_out.weight"]
    key_map = {}
    for weight in weights:
        inside = weight[len("diffusion_model.") : -len(".weight")]
        key_map["lora_unet_" + inside.replace(".", "_")] = weight
        key_map[weight[: -len(".weight")]] = weight
    updates, loaded = {}, set()
    for name, weight in key_map.items():
        for up, down in ((".lora_up.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_A.weight")):
            if name + up in lora:
                alpha = lora.get(name + ".alpha")
                scale = 1.0 if alpha is None else alpha.item() / lora[name + down].shape[0]
                updates[weight] = scale * lora[name + up] @ lora[name + down]
                loaded |= {name + up, name + down, name + ".alpha"}
    return updates, [key for key in lora if key not in loaded]


def test_comfyui_loads_every_linear_of_the_export_with_the_same_update(method, lora, tmp_path):
    save_lora(tmp_path / "melt.safetensors", lora_for("comfyui", lora, OUT))
    blocks = len(method.dit.blocks)
    updates, left = comfyui_loads(load_file(tmp_path / "melt.safetensors"), blocks)
    assert left == [] and len(updates) == len(method.adapters) == 4 * blocks
    names = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "attn_out"}
    for block in range(blocks):
        for ours, theirs in names.items():
            stem = f"transformer.transformer_blocks.{block}.attn1.{ours}"
            update = lora[f"{stem}.lora_B.weight"] @ lora[f"{stem}.lora_A.weight"]
            assert torch.equal(updates[f"diffusion_model.blocks.{block}.{theirs}.weight"], update)


def test_comfyui_loads_nothing_of_diffusers_format_and_ours_says_so(lora):
    updates, left = comfyui_loads(lora, 2)
    found = loaded_by("comfyui", lora)
    assert updates == {} and found.linears == 0
    assert list(found.unread) == left and not found.whole


def test_kijais_wrapper_loads_diffusers_format_with_the_rank_it_finds(method, lora, tiny_folder, tmp_path):
    path = tmp_path / "melt.safetensors"
    save_lora(path, lora_for("kijai", lora, path))
    state = load_file(path)
    rank = next(value.shape[1] for key, value in state.items() if "lora_B" in key)
    name = path.name.split(".")[0]
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipe.load_lora_weights(str(path), weight_name=path.name, lora_rank=rank, adapter_name=name)
    pipe.set_adapters([name], adapter_weights=[1.0])
    adapted = [each for each in pipe.transformer.modules() if name in getattr(each, "lora_A", {})]
    assert rank == 1 and len(adapted) == len(method.adapters) == loaded_by("kijai", state, path).linears
    assert {each.scaling[name] for each in adapted} == {1.0}


@pytest.mark.parametrize("place", ["orbit.safetensors", "DimensionX/melt.safetensors"])
def test_a_path_for_which_kijais_wrapper_divides_by_the_rank_is_refused(lora, tmp_path, place):
    with pytest.raises(BadAdapter, match="divides a LoRA by its rank"):
        lora_for("kijai", lora, tmp_path / place)
    assert lora_for("diffusers", lora, tmp_path / place).keys() == lora.keys()


@pytest.mark.parametrize("prefix", ["", "model.", "unet.", "diffusion_model."])
def test_under_a_wrong_prefix_diffusers_loads_nothing_and_ours_counts_nothing(
    lora, tiny_folder, tmp_path, prefix
):
    wrong = {prefix + key.removeprefix("transformer."): value for key, value in lora.items()}
    assert loaded_by("diffusers", wrong).linears == 0
    assert len(loaded_by("diffusers", wrong).unread) == len(lora)
    save_lora(tmp_path / "wrong.safetensors", wrong)
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipe.load_lora_weights(tmp_path / "wrong.safetensors", adapter_name="wrong")
    assert not [each for each in pipe.transformer.modules() if "wrong" in getattr(each, "lora_A", {})]


def test_alpha_is_refused_by_diffusers_and_told(lora, tiny_folder, tmp_path):
    stem = next(iter(lora)).removesuffix(".lora_A.weight")
    with_alpha = lora | {f"{stem}.alpha": torch.tensor(1.0)}
    assert "refuses" in loaded_by("diffusers", with_alpha).why
    save_lora(tmp_path / "alpha.safetensors", with_alpha)
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    with pytest.raises(ValueError):
        pipe.load_lora_weights(tmp_path / "alpha.safetensors")


def test_half_a_pair_counts_as_nothing(lora):
    half = dict(list(lora.items())[1:])
    found = loaded_by("diffusers", half)
    assert found.linears == len(lora) // 2 - 1 and len(found.unread) == 1 and not found.whole


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "linear", ["transformer_blocks.41.attn1.to_out.0", "blocks.3.attn2.to_k", "blocks.0.ffn.net.2"]
)
def test_a_linears_name_at_a_target_means_that_linear_again(target, linear):
    assert linear_of(target, stem_of(target, linear)) == linear


def test_wans_names_are_those_that_its_tools_read():
    assert stem_of("comfyui", "blocks.3.attn1.to_q") == "diffusion_model.blocks.3.self_attn.q"
    assert stem_of("kijai", "blocks.3.attn2.to_out.0") == "diffusion_model.blocks.3.cross_attn.o"
    assert stem_of("diffusers", "blocks.3.attn1.to_q") == "transformer.blocks.3.attn1.to_q"
