"""A published model: what a user keeps, loads again, and cannot load by mistake."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tests.training.run.saved import whole
from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.build import BuildMethod, require_start
from training.errors import TrainingError
from training.methods.registry import parse_settings
from training.release import (
    FACTS,
    TENSORS,
    ReleaseError,
    find_start,
    load_release,
    publish,
    read_release,
)
from training.run.checkpoint_writer import Facts, write_checkpoint


@pytest.fixture
def method(tiny_folder):
    return disturb(build_method(tiny_folder))


@pytest.fixture
def release(tiny_folder, tmp_path, method):
    state = {name: value.clone() for name, value in method.trainable_state().items()}
    backbone = load_backbone(tiny_folder)
    facts = {
        "method": SMALL.model_dump(mode="json"),
        "backbone": backbone.settings.model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder_id": backbone.encoder_id,
    }
    path = write_checkpoint(tmp_path / "checkpoints", whole(3, master=state), Facts(samples=12))
    return publish(path, tmp_path / "models", torch.float32, facts)


def test_a_published_model_predicts_what_the_trained_one_did(release, method, tiny_folder):
    batch = random_batch(1, 2)
    loaded = load_release(read_release(release.path), load_backbone(tiny_folder))
    with torch.no_grad():
        wanted = method.condition(batch.references)
        assert torch.equal(loaded.condition(batch.references), wanted)


def test_the_same_tensors_have_the_same_name(release, tmp_path, method):
    state = {name: value.clone() for name, value in method.trainable_state().items()}
    checkpoint = write_checkpoint(tmp_path / "other", whole(9, master=state), Facts(samples=1))
    again = publish(checkpoint, tmp_path / "m2", torch.float32, release.facts)
    assert again.model_id == release.model_id


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "tokenizer"])
def test_a_model_of_another_backbone_is_refused(release, tiny_folder, tmp_path, part):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    name = "tokenizer_config.json" if part == "tokenizer" else "config.json"
    config = json.loads((copy / part / name).read_text())
    (copy / part / name).write_text(json.dumps(config | {"retrained": True}))
    other = "another transformer" if part == "transformer" else "another VAE or text encoder"
    told = rf"trained on {other}.*\({tiny_folder} of backbone.family=cogvideox\)"
    with pytest.raises(ReleaseError, match=told):
        load_release(read_release(release.path), load_backbone(copy))
    with pytest.raises(ReleaseError, match=rf"{other}.*start_from=null"):
        require_start(release, load_backbone(copy, ()), SMALL)


def test_a_model_generates_at_another_geometry_and_precision_than_it_was_trained_at(release, tiny_folder):
    backbone = load_backbone(tiny_folder)
    changed = {"num_frames": 5, "dtype": "bfloat16", "vae_tiling": True}
    load_release(release, replace(backbone, settings=backbone.settings.model_copy(update=changed)))
    scaled = backbone.settings.model_copy(update={"first_frame_scale": "divide"})
    with pytest.raises(ReleaseError, match="first_frame_scale"):
        load_release(release, replace(load_backbone(tiny_folder), settings=scaled))


def test_a_flipped_bit_in_the_tensors_is_noticed(release, tiny_folder):
    data = bytearray((release.path / TENSORS).read_bytes())
    data[-1] ^= 1
    (release.path / TENSORS).write_bytes(bytes(data))
    with pytest.raises(ReleaseError, match="corrupt"):
        load_release(read_release(release.path), load_backbone(tiny_folder))


@pytest.mark.parametrize("damage", ["garbage", "facts", "missing"])
def test_a_folder_that_holds_no_model_is_one_sentence(release, damage):
    if damage == "garbage":
        (release.path / TENSORS).write_bytes(b"\x80\x04 a pickle would start so")
    elif damage == "facts":
        (release.path / FACTS).write_text("[1, 2]")
    else:
        (release.path / TENSORS).unlink()
    with pytest.raises(TrainingError, match="video2lora train"):
        read_release(release.path)


@pytest.mark.parametrize("damage", ["flipped", "facts", "missing", "whole"])
def test_a_damaged_model_is_written_again_when_it_is_published_again(
    release, tiny_folder, tmp_path, caplog, damage
):
    facts = (release.path / FACTS).read_text()
    if damage == "flipped":
        (release.path / TENSORS).write_bytes((release.path / TENSORS).read_bytes()[:-1] + b"?")
    elif damage == "facts":
        (release.path / FACTS).write_text("{")
    elif damage == "missing":
        (release.path / TENSORS).unlink()
    checkpoint = next((tmp_path / "checkpoints").iterdir())
    told = {name: release.facts[name] for name in ("method", "backbone", "transformer", "encoder_id")}
    again = publish(checkpoint, release.path.parent, torch.float32, told)
    assert again.path == release.path and (release.path / FACTS).read_text() == facts
    load_release(read_release(release.path), load_backbone(tiny_folder))
    assert ("written again" in caplog.text) == (damage != "whole")
    assert [path.name for path in release.path.parent.iterdir()] == [release.model_id]


def test_a_run_can_begin_with_a_model(release, method, tiny_folder):
    backbone = load_backbone(tiny_folder)
    build = BuildMethod(backbone.settings, SMALL, start_from=release.path)
    begun = build.on(backbone).trainable_state()
    for name, value in method.trainable_state().items():
        assert torch.equal(begun[name], value), name


def test_a_model_that_does_not_fit_the_run_is_no_start(release, tiny_folder):
    backbone = load_backbone(tiny_folder, ())
    require_start(release, backbone, SMALL)
    other = SMALL.model_copy(update={"refinements": SMALL.refinements + 1})
    with pytest.raises(ReleaseError, match=rf"method\.refinements={SMALL.refinements}.*start_from=null"):
        require_start(release, backbone, other)
    with pytest.raises(ReleaseError, match=r"trained with method\.kind=video2lora.*start_from=null"):
        require_start(release, backbone, parse_settings({"kind": "video_as_prompt"}))
    with pytest.raises(ReleaseError, match="no readable model"):
        find_start(str(release.path / "nowhere"), "video2lora")
