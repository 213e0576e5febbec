"""A backbone that lacks something, or is another one, is not used; what is not read does not matter."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.small_backbones import load_backbone
from training.backbones.registry import PARTS, locate_backbone
from training.backbones.registry import load_backbone as load
from training.backbones.settings import BackboneSettings
from training.errors import WeightsUnreachable

WEIGHTS = {
    "transformer": "transformer/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text": "text_encoder/model.safetensors",
}


@pytest.fixture(scope="module")
def settings(tiny_folder) -> BackboneSettings:
    return load_backbone(tiny_folder, ()).settings


@pytest.fixture
def copy(settings, tmp_path) -> Path:
    return shutil.copytree(settings.model, tmp_path / "copy")


def of(settings: BackboneSettings, folder: Path) -> BackboneSettings:
    return settings.model_copy(update={"model": str(folder)})


def refused(settings: BackboneSettings, says: str, parts=PARTS) -> None:
    with pytest.raises(WeightsUnreachable, match=says) as caught:
        load(settings, parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", WEIGHTS)
def test_tensors_that_are_missing_unknown_or_reshaped_are_named(settings, copy, part):
    path = copy / WEIGHTS[part]
    tensors = load_file(path)
    lost, cut = sorted(name for name, value in tensors.items() if value.ndim == 1)[:2]
    tensors |= {"stranger": tensors.pop(lost), cut: tensors[cut][1:].clone()}
    save_file(tensors, path)
    refused(of(settings, copy), f"missing are {lost}.*unknown are stranger.*shape are {cut}", [part])


def test_the_two_names_of_a_tied_tensor_are_one_tensor(settings, copy):
    path = copy / WEIGHTS["text"]
    tensors = load_file(path)
    (name,) = tensors.keys() & {"shared.weight", "encoder.embed_tokens.weight"}
    other = ({"shared.weight", "encoder.embed_tokens.weight"} - {name}).pop()
    before = load(settings, ["text"]).encode_text(["a red ball"])
    tensors[other] = tensors.pop(name)
    save_file(tensors, path)
    assert torch.equal(load(of(settings, copy), ["text"]).encode_text(["a red ball"]), before)


@pytest.mark.parametrize("part", WEIGHTS)
def test_pickled_weights_are_never_loaded_whatever_lies_beside_them(settings, copy, part):
    path = copy / WEIGHTS[part]
    torch.save(load_file(path), path.with_suffix(".bin"))
    torch.save(load_file(path), path.parent / "pytorch_model.bin")
    path.rename(path.with_name("stray.safetensors"))
    refused(of(settings, copy), f"{path.name} is missing", [part])


def test_weights_that_are_there_twice_are_not_chosen_from(settings, copy):
    index = copy / f"{WEIGHTS['vae']}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "part-1.safetensors"}}))
    refused(of(settings, copy), "holds its weights twice", ["vae"])


@pytest.mark.parametrize(
    "name",
    [
        "transformer/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_a_torn_configuration_is_one_sentence_that_names_it(settings, copy, name):
    text = (copy / name).read_text()
    for torn in (text[: len(text) // 2], "[]"):
        (copy / name).write_text(torn)
        refused(of(settings, copy), name)
        with pytest.raises(WeightsUnreachable, match=name):
            located = locate_backbone(of(settings, copy))
            _ = located.encoder_id, located.transformer_id


def test_a_torn_index_is_one_sentence_that_names_it(settings, copy):
    (copy / WEIGHTS["vae"]).unlink()
    index = copy / f"{WEIGHTS['vae']}.index.json"
    for torn in ('{"weight_map": {"a', "{}", '{"weight_map": [1]}'):
        index.write_text(torn)
        refused(of(settings, copy), index.name, ["vae"])


def test_a_tokenizer_that_knows_no_word_is_refused(settings, copy):
    path = copy / "tokenizer" / "tokenizer.json"
    told = json.loads(path.read_text())
    told["model"]["vocab"] = told["model"]["vocab"][:4]
    path.write_text(json.dumps(told))
    refused(of(settings, copy), "has 4 tokens and does not belong to the text encoder", ["text"])


def test_what_loading_does_not_read_does_not_change_what_a_backbone_is(settings, copy):
    def ids() -> tuple[str, str]:
        located = locate_backbone(of(settings, copy))
        return located.encoder_id, located.transformer_id

    before = ids()
    for name in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"):
        (copy / name / "README.md").write_text("what a good backbone this is")
        (copy / name / "other.fp16.safetensors").write_bytes(b"not even one")
    assert ids() == before
    load(of(settings, copy))
    for path in WEIGHTS.values():
        tensors = load_file(copy / path)
        save_file({name: value + 1 for name, value in tensors.items()}, copy / path)
    assert not set(ids()) & set(before)


def test_the_scale_of_first_frames_counts_where_it_is_not_the_vaes_own(settings):
    def encoder(scale: str | None) -> str:
        return locate_backbone(settings.model_copy(update={"first_frame_scale": scale})).encoder_id

    assert encoder(None) == encoder("multiply")
    assert len({encoder(None), encoder("divide"), encoder("none")}) == 3


def test_a_name_that_no_folder_can_have_is_refused_as_a_setting():
    with pytest.raises(ValueError, match="can be no folder"):
        BackboneSettings(model="x" * 300)
