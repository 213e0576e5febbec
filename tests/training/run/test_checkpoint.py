import hashlib
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.run.saved import everything, whole
from training.run.checkpoint import (
    CheckpointError,
    Shard,
    check_identity,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    read_model,
)
from training.run.checkpoint_writer import CheckpointWriter, Facts, write_checkpoint

SHARD = "shard-00000-of-00001.safetensors"


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(3, 4, generator=generator), "b": torch.randn(2, generator=generator)}


def a_shard(step: int = 10, ema: bool = True) -> Shard:
    kinds = ["master", "exp_avg", "exp_avg_sq", *(["ema"] if ema else [])]
    return whole(step, **{kind: tensors(100 * step + at) for at, kind in enumerate(kinds)})


def write(folder: Path, step: int = 10, ema: bool = True) -> Path:
    facts = Facts(samples=step * 8, identity={"method": "toy", "layers": 2}, settings={"lr": 0.1})
    return write_checkpoint(folder, a_shard(step, ema), facts)


@pytest.mark.parametrize("ema", [True, False])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, ema):
    found = read_checkpoint(write(tmp_path, ema=ema))
    assert (found.step, found.samples) == (10, 80)
    assert (found.identity, found.settings) == ({"method": "toy", "layers": 2}, {"lr": 0.1})
    written = a_shard(ema=ema)
    assert everything(found).keys() == written.values.keys()
    for name, tensor in everything(found).items():
        assert tensor.shape == written.shapes[name.partition("/")[2]]
        assert torch.equal(tensor.reshape(-1), written.values[name]), name


def test_all_files_of_a_checkpoint_may_be_read_by_who_may_read_other_new_files(tmp_path):
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {file.stat().st_mode for file in write(tmp_path).iterdir()} == {usual}


@pytest.mark.parametrize("ema", [True, False])
def test_a_model_is_the_average_where_there_is_one_and_the_masters_otherwise(tmp_path, ema):
    path = write(tmp_path, ema=ema)
    checkpoint = read_checkpoint(path)
    for model, kind in (
        (read_model(path), "ema" if ema else "master"),
        (read_model(path, ema=False), "master"),
    ):
        expected = checkpoint.tensors(kind)
        assert model.keys() == expected.keys()
        assert all(torch.equal(model[name], expected[name]) for name in model)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(tmp_path, caplog, damage):
    before, torn = write(tmp_path, 10), write(tmp_path, 20)
    file = torn / SHARD
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=SHARD):
        read_checkpoint(torn)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == before
    assert file.name in caplog.text


@pytest.mark.parametrize("change", [{"step": 11}, {"samples": 0}, {"identity": {}}, {"files": {}}])
def test_an_altered_state_file_is_refused(tmp_path, change):
    path = write(tmp_path)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(CheckpointError, match=r"state\.json"):
        read_checkpoint(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"step": 1}'])
def test_a_state_file_that_is_not_one_is_refused(tmp_path, text):
    path = write(tmp_path)
    (path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="incomplete"):
        read_checkpoint(path)


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path):
    path = write(tmp_path)
    check_identity(read_checkpoint(path), {"method": "toy", "layers": 2})
    with pytest.raises(CheckpointError, match="layers was 2, now 4"):
        check_identity(read_checkpoint(path), {"method": "toy", "layers": 4})


def test_old_checkpoints_are_pruned_but_every_kth_is_kept(tmp_path):
    writer = CheckpointWriter(tmp_path, keep_last=2, keep_every=30)
    for step in (10, 20, 30, 40, 50, 60, 70):
        writer.save(a_shard(step), Facts(samples=0))
    writer.wait()
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000030",
        "step-00000060",
        "step-00000070",
    ]


def test_what_a_killed_writer_left_is_removed_and_never_taken_for_a_checkpoint(tmp_path):
    left = tmp_path / ".step-00000090-abc"
    left.mkdir()
    (left / SHARD).write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    CheckpointWriter(tmp_path, keep_last=1)
    assert not left.exists()


def test_an_error_of_the_writing_thread_reaches_the_one_that_trains(tmp_path):
    def lost() -> None:
        raise RuntimeError("the folder belongs to another run")

    writer = CheckpointWriter(tmp_path, keep_last=1, allowed=lost)
    writer.save(a_shard(), Facts(samples=0))
    with pytest.raises(RuntimeError, match="another run"):
        writer.wait()
    assert list_checkpoints(tmp_path) == []


def test_no_pickle_is_read_or_written(tmp_path):
    path = write(tmp_path)
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
    path = write(tmp_path)
    files = json.loads((path / "state.json").read_text())["files"]
    forge(path, files=files | {name: hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(CheckpointError, match="no checkpoint has"):
        read_checkpoint(path)
    assert newest_checkpoint(tmp_path) is None


def test_keys_of_a_later_version_are_read_past_and_missing_ones_are_named(tmp_path):
    path = write(tmp_path)
    forge(path, added_later={"a": 1})
    assert read_checkpoint(path).samples == 80
    forge(path, samples=None)
    with pytest.raises(CheckpointError, match="lacks 'samples'"):
        read_checkpoint(path)


def test_folders_that_only_look_like_checkpoints_are_left_alone(tmp_path):
    path = write(tmp_path)
    (tmp_path / "step-old").mkdir()
    assert list_checkpoints(tmp_path) == [path]


def test_a_tensor_that_the_checkpoint_lacks_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds 0 of 12 values of 'ema' of 'a\.weight'"):
        read_checkpoint(write(tmp_path, ema=False)).tensor("ema", "a.weight")


FULL = """
import resource, sys
from pathlib import Path
import torch
from tests.training.run.saved import whole
from training.run.checkpoint import CheckpointError
from training.run.checkpoint_writer import Facts, write_checkpoint

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for step, size in ((10, 10), (20, 100_000)):
    try:
        write_checkpoint(Path(sys.argv[1]), whole(step, master={"a": torch.zeros(size)}), Facts(0))
    except CheckpointError as error:
        print(error)
"""


def test_a_disk_that_is_full_is_one_sentence_and_nothing_half_written_stays(tmp_path):
    """The operating system refuses it, here by its limit on a file's size."""
    run = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(run, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert "step 20 could not be written" in done.stdout
    assert "is full" in done.stdout
    assert "The last one is of step 10" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
