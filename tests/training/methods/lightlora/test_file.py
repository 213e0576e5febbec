"""An adapter's file as a stranger brings it: taken for what it is, or refused in a sentence."""

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file

from tests.training.small_backbones import SMALL, build_method, disturb, random_batch
from training.errors import BadAdapter
from training.methods.lightlora.export import adapter_to_lora
from training.methods.lightlora.file import read_adapter_file
from training.methods.lightlora.targets import lora_for


@pytest.fixture(scope="module")
def method(tiny_folder):
    return disturb(build_method(tiny_folder, SMALL), size=0.5)


@pytest.fixture(scope="module")
def theta(method) -> torch.Tensor:
    with torch.no_grad():
        return method.condition(random_batch(1).references)


def loaded(method, path, tensors, **metadata):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata or None)
    return method.load(read_adapter_file(path))


@pytest.mark.parametrize("target", ["diffusers", "comfyui", "kijai"])
def test_an_export_is_taken_back_as_the_adapter_that_it_was(method, theta, tmp_path, target):
    lora = adapter_to_lora(method.adapters, theta)
    path = tmp_path / "melt.safetensors"
    again = adapter_to_lora(method.adapters, loaded(method, path, lora_for(target, lora, path)))
    assert again.keys() == lora.keys() and all(torch.equal(again[name], lora[name]) for name in lora)


def test_an_adapter_is_taken_back_with_its_facts(method, theta, tmp_path):
    path = tmp_path / "melt.safetensors"
    facts = {"model_id": "m", "reference": "a file"}
    assert torch.equal(loaded(method, path, {"adapter": theta[0]}, video2lora=json.dumps(facts)), theta)
    assert read_adapter_file(path).facts == facts


def test_alpha_is_multiplied_in_wherever_it_is_said(method, theta, tmp_path):
    lora = adapter_to_lora(method.adapters, theta)
    plain = adapter_to_lora(method.adapters, theta)
    said = json.dumps({"transformer.r": 1, "transformer.lora_alpha": 0.5})
    peft = loaded(method, tmp_path / "peft.safetensors", lora, lora_adapter_metadata=said)
    named = lora_for("comfyui", lora, tmp_path / "x")
    alphas = {key.replace("lora_A.weight", "alpha"): torch.tensor(0.5) for key in named if "lora_A" in key}
    comfyui = loaded(method, tmp_path / "comfyui.safetensors", named | alphas)
    for adapter in (peft, comfyui):
        for name, value in adapter_to_lora(method.adapters, adapter).items():
            assert torch.allclose(value, plain[name] * (0.5 if "lora_B" in name else 1))


def wrong_files(lora: dict[str, torch.Tensor]):
    """Tensors, metadata, and what is said."""
    key = next(iter(lora))
    yield "no numbers", lora | {key: lora[key] * torch.nan}, {}, "no finite numbers"
    yield "endless", {"adapter": torch.full((8, 10), torch.inf)}, {}, "no finite numbers"
    yield "whole numbers", lora | {key: lora[key].int()}, {}, "int32"
    yield "a prefix", {f"model.{name}": value for name, value in lora.items()}, {}, "none of an adapter's"
    yield (
        "half a pair",
        {name: value for name, value in lora.items() if name != key},
        {},
        "none of an adapter's",
    )
    yield "a model", lora | {"proj_out.weight": torch.zeros(2, 2)}, {}, "'proj_out.weight'"
    yield "nothing", {}, {}, "no tensors"
    yield "another width", lora | {key: torch.zeros(1, 7)}, {}, "made for another one"
    yield "no factors", lora | {key: torch.zeros(3, lora[key].shape[1])}, {}, "no LoRA"
    yield (
        "a block too many",
        {n.replace("blocks.0", "blocks.9"): v for n, v in lora.items()},
        {},
        "leaves alone",
    )
    yield "two adapters", {"adapter": torch.zeros(2, 3), "other": torch.zeros(1)}, {}, "one tensor"
    yield "three dimensions", {"adapter": torch.zeros(1, 2, 3)}, {}, "two dimensions"
    yield "a header of another kind", lora, {"video2lora": "[1]"}, "JSON object"
    yield "a header that ends", lora, {"video2lora": '{"model_id": '}, "JSON object"
    yield "a long header", lora, {"video2lora": json.dumps({"a": "x" * 70_000})}, "JSON object"
    yield "a deep header", lora, {"video2lora": "[" * 100_000}, "JSON object"
    yield "DoRA", lora, {"lora_adapter_metadata": '{"transformer.use_dora": true}'}, "use_dora"
    yield "rank 0", lora, {"lora_adapter_metadata": '{"transformer.r": 0}'}, "damaged"


def test_what_is_no_adapter_is_refused_in_a_sentence_that_names_the_file(method, theta, tmp_path):
    for name, tensors, metadata, says in wrong_files(adapter_to_lora(method.adapters, theta)):
        with pytest.raises(BadAdapter, match=says) as refused:
            loaded(method, tmp_path / "given.safetensors", tensors, **metadata)
        assert "given.safetensors" in str(refused.value), name


def test_a_file_that_is_no_safetensors_is_never_opened_as_anything_else(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "given.safetensors"
    header = json.dumps({"adapter": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
    for content in (
        b"",
        pickle.dumps(Trap()),
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", len(header)) + header + b"\0" * 10,
        struct.pack("<Q", len(header)) + header.replace(b"[4, 4]", b"[9, 9]") + b"\0" * 64,
        b"\x02\0\0\0\0\0\0\0{]",
    ):
        path.write_bytes(content)
        with pytest.raises(BadAdapter, match="no whole safetensors file"):
            read_adapter_file(path)
    for place in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(BadAdapter, match="cannot be read"):
            read_adapter_file(place)
