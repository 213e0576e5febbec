import shutil
import socket

import pytest
from huggingface_hub import constants

from tests.training.small_backbones import GEOMETRY, load_backbone
from training.backbones.fingerprint import SAMPLE_BYTES, WHOLE, file_digest
from training.backbones.weights import resolve_weights
from training.errors import WeightsUnreachable

NOBODY = "nobody/no-such-model"


def test_a_hub_that_accepts_and_never_answers_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(WeightsUnreachable) as caught:
            resolve_weights(NOBODY, ("vae",), GEOMETRY, 16, deadline=1.0)
        # It was asked, and the question is still in the queue of connections.
        server.settimeout(60)
        assert server.accept()
    said = str(caught.value)
    assert f"hf download {NOBODY} --local-dir" in said
    assert "backbone.model=<folder>" in said
    assert "\n" not in said


def test_a_hub_that_may_not_be_asked_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnreachable, match=f"HF_HUB_OFFLINE.*hf download {NOBODY}"):
        resolve_weights(NOBODY, ("vae",), GEOMETRY, 16)


def test_a_pocket_that_was_not_trained_says_what_trains_it(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.setattr("training.backbones.weights.POCKET", tmp_path / "pocket")
    with pytest.raises(WeightsUnreachable, match="make pocket"):
        resolve_weights("pocket", ("vae",), GEOMETRY, 16)
    load_backbone(tiny_folder)
    shutil.copytree(tiny_folder, tmp_path / "pocket")
    assert resolve_weights("pocket", ("vae",), GEOMETRY, 16) == tmp_path / "pocket"
    monkeypatch.setattr("training.backbones.weights.POCKET_WAN", tmp_path / "pocket-wan")
    with pytest.raises(WeightsUnreachable, match="make pocket"):
        resolve_weights("pocket", ("vae",), GEOMETRY, 16, family="wan")


@pytest.mark.parametrize("model", ["/no/such/folder", "./nothing", "random:x", "a/b/c", ""])
def test_a_name_that_is_neither_folder_nor_hub_name_is_one_sentence(model):
    with pytest.raises(WeightsUnreachable, match=r"it is no folder|is missing"):
        resolve_weights(model, ("vae",), GEOMETRY, 16)


@pytest.mark.parametrize(
    "missing",
    [
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/tokenizer.json",
        "transformer/diffusion_pytorch_model.safetensors",
    ],
)
def test_an_incomplete_folder_names_what_is_missing(tiny_folder, tmp_path, missing):
    load_backbone(tiny_folder, ())
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / missing).unlink()
    folder, _, name = missing.partition("/")
    with pytest.raises(WeightsUnreachable, match=f"{folder}/.*{name.rpartition('.')[2]} is missing"):
        resolve_weights(str(copy), ("transformer", "vae", "text"), GEOMETRY, 16)


def test_a_missing_shard_is_named(tiny_folder, tmp_path):
    load_backbone(tiny_folder, ())
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    index = copy / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "shard-1.safetensors"}}')
    with pytest.raises(WeightsUnreachable, match=r"transformer/shard-1\.safetensors is missing"):
        resolve_weights(str(copy), ("transformer",), GEOMETRY, 16)


def test_parts_that_are_not_needed_may_be_absent(tiny_folder, tmp_path):
    load_backbone(tiny_folder, ())
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    shutil.rmtree(copy / "transformer")
    assert resolve_weights(str(copy), ("vae", "text"), GEOMETRY, 16) == copy


def test_a_large_file_is_told_apart_by_header_size_and_samples(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(WHOLE + 10 * SAMPLE_BYTES)
    plain = file_digest(path)
    for position in (0, WHOLE // 2, WHOLE + 10 * SAMPLE_BYTES - 1):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"x")
        assert file_digest(path) != plain
        plain = file_digest(path)
    with path.open("ab") as file:
        file.write(b"\0")
    assert file_digest(path) != plain
