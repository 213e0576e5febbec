"""The checkpoint that the authors released: its layers, names and shapes, written and read."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.small import small_module
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, meta_transformer
from training.errors import StateMismatch, TrainingError, WeightsUnreachable
from training.methods.registry import build_method, parse_settings
from training.methods.video_as_prompt.released import load_released, released_state

RELEASED = {
    "all but the last": (None, 41),
    "the first half": (tuple(range(20)), 20),
    "distributed": (tuple(range(0, 41, 2)), 21),
    "distributed over a half": (tuple(range(0, 21, 2)), 11),
}


def published(layers: tuple[int, ...] | None):
    """On the published CogVideoX-5B-I2V, without storage."""
    settings = parse_settings({"kind": "video_as_prompt", "expert_layers": layers})
    with torch.device("meta"):
        return build_method(settings, CogVideoXDiT(meta_transformer(), SCHEDULER_5B_I2V))


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_lists_of_layers_build(name):
    layers, count = RELEASED[name]
    method = published(layers)
    assert len(method.layers) == count
    added = sum(p.numel() for n, p in method.named_parameters() if ".expert." in n or "embedding." in n[:10])
    assert added == pytest.approx(count * 132.2e6 + 14.8e6, rel=2e-3)
    if count == 41:
        assert method.layers == tuple(range(41))
        assert added == pytest.approx(5.435e9, rel=1e-3)
        # Of the last expert only what makes keys and values trains.
        assert added - sum(p.numel() for p in method.trainable_parameters()) == pytest.approx(104e6, rel=0.01)


def test_every_tensor_has_the_name_that_the_released_class_gives_it():
    frozen = {name: tuple(value.shape) for name, value in meta_transformer().state_dict().items()}
    ours = {name: tuple(value.shape) for name, value in released_state(published(None)).items()}
    beside = {name: shape for name, shape in ours.items() if "_mot_ref" in name}
    assert ours.items() - beside.items() == frozen.items()
    # Each of theirs stands beside the one that it copies, and has its shape.
    assert all(frozen[name.replace("_mot_ref", "")] == shape for name, shape in beside.items())
    copied = ("patch_embed.", "time_embedding.", *(f"transformer_blocks.{n}." for n in range(41)))
    assert {name.replace("_mot_ref", "") for name in beside} == {n for n in frozen if n.startswith(copied)}
    assert beside["transformer_blocks.40.attn1_mot_ref.to_out.0.weight"] == (3072, 3072)
    assert beside["patch_embed_mot_ref.proj.weight"] == (3072, 32, 2, 2)


def write(folder: Path, state: dict[str, torch.Tensor], layers: list[int], shards: int = 1) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"block_idx_with_mot_ref": layers}))
    names = sorted(state)
    parts = [names[at::shards] for at in range(shards)]
    files = [f"diffusion_pytorch_model-{n}.safetensors" for n in range(shards)]
    if shards == 1:
        files = ["diffusion_pytorch_model.safetensors"]
    else:
        index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(
            json.dumps({"weight_map": index})
        )
    for file, part in zip(files, parts, strict=True):
        save_file({name: state[name].clone() for name in part}, folder / file)
    return folder


def disturbed():
    method = small_module("video_as_prompt")
    with torch.no_grad():
        for parameter in method.trainable_parameters():
            parameter.add_(torch.randn(parameter.shape))
    return method


@pytest.mark.parametrize("shards", [1, 3])
def test_what_is_written_under_released_names_is_read_again(tmp_path, shards):
    trained, fresh = disturbed(), small_module("video_as_prompt")
    folder = write(tmp_path / "transformer", released_state(trained), [0], shards)
    load_released(fresh, tmp_path)
    theirs = trained.trainable_state()
    assert all(torch.equal(value, theirs[name]) for name, value in fresh.trainable_state().items())
    load_released(small_module("video_as_prompt"), folder)


def test_a_checkpoint_that_is_another_ones_is_one_sentence_and_changes_nothing(tmp_path):
    state = released_state(disturbed())
    fresh = small_module("video_as_prompt")
    before = {name: value.clone() for name, value in fresh.state_dict().items()}

    def written(name: str, state: dict[str, torch.Tensor], layers: list[int]) -> Path:
        return write(tmp_path / name / "transformer", state, layers)

    def refused(folder: Path, kind: type[TrainingError], match: str) -> None:
        with pytest.raises(kind, match=match):
            load_released(fresh, folder)

    refused(
        written("layers", state, [0, 1]),
        StateMismatch,
        r"method\.expert_layers=\[0, 1\]",
    )
    lacking = {name: value for name, value in state.items() if "ff_mot_ref" not in name}
    refused(written("lacking", lacking, [0]), WeightsUnreachable, "missing are")
    named = written("named", state | {"lora_A.weight": torch.zeros(1)}, [0])
    refused(named, WeightsUnreachable, "unknown are lora_A")
    other = state | {"norm_final.weight": state["norm_final.weight"] + 1}
    refused(written("other", other, [0]), StateMismatch, "beside another transformer")
    plain = written("plain", {}, [0])
    (plain / "config.json").write_text("{}")
    refused(plain, WeightsUnreachable, "no checkpoint of Video-As-Prompt")
    pickled = written("pickled", {}, [0])
    (pickled / "diffusion_pytorch_model.safetensors").unlink()
    (pickled / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    refused(pickled, WeightsUnreachable, "safetensors")
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())
