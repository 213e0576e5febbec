import hashlib
import json
import logging

import pytest
import torch

from training.run.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointWriter,
    OptimizerState,
    check_identity,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    read_model,
    write_checkpoint,
)


def a_checkpoint(step: int = 10, ema: bool = True) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    masters, first, second, average = (
        {"a.weight": torch.randn(3, 4, generator=generator), "b": torch.randn(2, generator=generator)}
        for _ in range(4)
    )
    moments = {"exp_avg": first, "exp_avg_sq": second}
    state = OptimizerState(step, masters, moments, average if ema else None)
    return Checkpoint(state, samples=step * 8, identity={"method": "toy", "layers": 2}, settings={"lr": 0.1})


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("ema", [True, False])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, ema):
    written = a_checkpoint(ema=ema)
    found = read_checkpoint(write_checkpoint(tmp_path, written))
    assert (found.step, found.samples, found.identity, found.settings) == (
        written.step,
        written.samples,
        written.identity,
        written.settings,
    )
    assert same(found.optimizer.masters, written.optimizer.masters)
    for key, tensors in written.optimizer.moments.items():
        assert same(found.optimizer.moments[key], tensors)
    assert same(found.optimizer.ema or {}, written.optimizer.ema or {})


def test_the_model_file_holds_the_average_where_there_is_one_and_the_runs_precision_otherwise(tmp_path):
    checkpoint = a_checkpoint()
    path = write_checkpoint(tmp_path, checkpoint, dtype=torch.bfloat16)
    assert same(read_model(path), checkpoint.optimizer.ema)
    assert {tensor.dtype for tensor in read_model(path, ema=False).values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["model", "ema", "optimizer"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(tmp_path, caplog, name, damage):
    before = write_checkpoint(tmp_path, a_checkpoint(10))
    torn = write_checkpoint(tmp_path, a_checkpoint(20))
    file = torn / f"{name}.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(torn)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == before
    assert file.name in caplog.text


@pytest.mark.parametrize("change", [{"step": 11}, {"samples": 0}, {"identity": {}}, {"files": {}}])
def test_an_altered_state_file_is_refused(tmp_path, change):
    path = write_checkpoint(tmp_path, a_checkpoint())
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(CheckpointError, match=r"state\.json"):
        read_checkpoint(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"step": 1}'])
def test_a_state_file_that_is_not_one_is_refused(tmp_path, text):
    path = write_checkpoint(tmp_path, a_checkpoint())
    (path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="incomplete"):
        read_checkpoint(path)


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path):
    path = write_checkpoint(tmp_path, a_checkpoint())
    check_identity(path, {"method": "toy", "layers": 2})
    with pytest.raises(CheckpointError, match="layers was 2, now 4"):
        check_identity(path, {"method": "toy", "layers": 4})


def test_old_checkpoints_are_pruned_but_every_kth_is_kept(tmp_path):
    writer = CheckpointWriter(tmp_path, keep_last=2, keep_every=30)
    for step in (10, 20, 30, 40, 50, 60, 70):
        writer.save(a_checkpoint(step))
    writer.wait()
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000030",
        "step-00000060",
        "step-00000070",
    ]


def test_what_a_killed_writer_left_is_removed_and_never_taken_for_a_checkpoint(tmp_path):
    left = tmp_path / ".step-00000090-abc"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    CheckpointWriter(tmp_path, keep_last=1)
    assert not left.exists()


def test_an_error_of_the_writing_thread_reaches_the_one_that_trains(tmp_path):
    def lost() -> None:
        raise RuntimeError("the folder belongs to another run")

    writer = CheckpointWriter(tmp_path, keep_last=1, allowed=lost)
    writer.save(a_checkpoint())
    with pytest.raises(RuntimeError, match="another run"):
        writer.wait()
    assert list_checkpoints(tmp_path) == []


def test_no_pickle_is_read_or_written(tmp_path):
    path = write_checkpoint(tmp_path, a_checkpoint())
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


def forge(path, **changes) -> None:
    """Change what state.json says, its own checksum made to fit."""
    state = json.loads((path / "state.json").read_text()) | changes
    state.pop("sha256")
    state = {key: value for key, value in state.items() if value is not None}
    state["sha256"] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret", "weights.pt"])
def test_a_file_outside_the_checkpoint_is_refused_though_its_checksum_fits(tmp_path, name):
    (tmp_path / "secret").write_text("x")
    path = write_checkpoint(tmp_path, a_checkpoint())
    files = json.loads((path / "state.json").read_text())["files"]
    forge(path, files=files | {name: hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(CheckpointError, match="no checkpoint has"):
        read_checkpoint(path)
    assert newest_checkpoint(tmp_path) is None


def test_keys_of_a_later_version_are_read_past_and_missing_ones_are_named(tmp_path):
    path = write_checkpoint(tmp_path, a_checkpoint())
    forge(path, added_later={"a": 1})
    assert read_checkpoint(path).samples == 80
    forge(path, samples=None)
    with pytest.raises(CheckpointError, match="lacks 'samples'"):
        read_checkpoint(path)


def test_folders_that_only_look_like_checkpoints_are_left_alone(tmp_path):
    path = write_checkpoint(tmp_path, a_checkpoint())
    (tmp_path / "step-old").mkdir()
    assert list_checkpoints(tmp_path) == [path]
