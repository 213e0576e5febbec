"""A published model: what a user keeps, loads again, and cannot load by mistake."""

import json

import pytest
import torch

from tests.training.small_backbones import SMALL, build_method, disturb, load_backbone, random_batch
from training.errors import TrainingError
from training.release import (
    FACTS,
    TENSORS,
    BuildMethod,
    ReleaseError,
    find_start,
    load_release,
    publish,
    read_release,
    require_start,
)
from training.run.checkpoint import Checkpoint, OptimizerState, write_checkpoint


@pytest.fixture
def method(tiny_folder):
    return disturb(build_method(tiny_folder))


@pytest.fixture
def release(tiny_folder, tmp_path, method):
    state = {name: value.clone() for name, value in method.trainable_state().items()}
    checkpoint = Checkpoint(OptimizerState(3, state, {}), samples=12, identity={}, settings={})
    facts = {
        "method": SMALL.model_dump(mode="json"),
        "transformer": load_backbone(tiny_folder).transformer_id,
    }
    path = write_checkpoint(tmp_path / "checkpoints", checkpoint)
    return publish(path, tmp_path / "models", torch.float32, facts)


def test_a_published_model_predicts_what_the_trained_one_did(release, method, tiny_folder):
    batch = random_batch(1, 2)
    loaded = load_release(read_release(release.path), load_backbone(tiny_folder))
    with torch.no_grad():
        wanted = method.condition(batch.references)
        assert torch.equal(loaded.condition(batch.references), wanted)


def test_the_same_tensors_have_the_same_name(release, tmp_path, method):
    state = {name: value.clone() for name, value in method.trainable_state().items()}
    checkpoint = Checkpoint(OptimizerState(9, state, {}), samples=1, identity={}, settings={})
    again = publish(
        write_checkpoint(tmp_path / "other", checkpoint), tmp_path / "m2", torch.float32, release.facts
    )
    assert again.model_id == release.model_id


def test_a_model_of_another_backbone_is_refused(release, tiny_folder):
    facts = json.loads((release.path / FACTS).read_text())
    (release.path / FACTS).write_text(json.dumps(facts | {"transformer": "another"}))
    with pytest.raises(ReleaseError, match="was trained on transformer another"):
        load_release(read_release(release.path), load_backbone(tiny_folder))


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
    with pytest.raises(TrainingError, match=r"video2lora train|Train the model again"):
        read_release(release.path)


def test_a_run_can_begin_with_a_model(release, method, tiny_folder):
    backbone = load_backbone(tiny_folder)
    build = BuildMethod(backbone.settings, SMALL, start_from=release.path)
    begun = build.on(backbone).trainable_state()
    for name, value in method.trainable_state().items():
        assert torch.equal(begun[name], value), name


def test_a_model_that_does_not_fit_the_run_is_no_start(release, tiny_folder):
    transformer = load_backbone(tiny_folder).transformer_id
    require_start(release, transformer, SMALL)
    with pytest.raises(ReleaseError, match=r"another backbone.*start_from=null"):
        require_start(release, "another", SMALL)
    other = SMALL.model_copy(update={"refinements": SMALL.refinements + 1})
    with pytest.raises(ReleaseError, match=rf"method\.refinements={SMALL.refinements}.*start_from=null"):
        require_start(release, transformer, other)
    with pytest.raises(ReleaseError, match="no readable model"):
        find_start(str(release.path / "nowhere"), "video2lora")
