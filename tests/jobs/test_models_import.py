"""A released checkpoint of Video-As-Prompt, taken in at the command line: small, beside the pocket model."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from catalog.store import Catalog
from pipeline.pocket.hypernetwork import pocket_settings
from pipeline.samples.draw import draw_clip
from pipeline.video.transcode import encode_video, read_clip
from tests.jobs.test_models import typed
from training.backbones.registry import load_backbone
from training.methods.registry import build_method, parse_settings
from training.methods.video_as_prompt.released import released_state
from training.release import shipped_model

LAYERS = [0, 2]
INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """In two shards, its experts moved away from what they begin as."""
    folder = tmp_path_factory.mktemp("released") / "VAP" / "transformer"
    folder.mkdir(parents=True)
    settings = parse_settings({"kind": "video_as_prompt", "expert_layers": LAYERS})
    method = build_method(settings, load_backbone(pocket_settings(), ["transformer"]).dit)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable_parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
    state = {name: value.clone() for name, value in released_state(method).items()}
    names = sorted(state)
    files = {f"diffusion_pytorch_model-{n}-of-2.safetensors": names[n::2] for n in range(2)}
    for file, part in files.items():
        save_file({name: state[name] for name in part}, folder / file)
    index = {name: file for file, part in files.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    config = {"_class_name": "CogVideoXTransformer3DMOTModel", "block_idx_with_mot_ref": LAYERS}
    (folder / "config.json").write_text(json.dumps(config))
    return folder.parent


def test_a_released_checkpoint_in_shards_becomes_a_model_that_generates(checkpoint, tmp_path, capsys):
    work = tmp_path / "work"
    status, said, err = typed(capsys, "models", "import", checkpoint, "-w", work)
    assert status == 0, err
    (row,) = Catalog.open(work / "catalog").scan("models").to_pylist()
    assert row["method"] == "video_as_prompt" and row["model_id"] in said
    assert json.loads(row["config"])["method"]["expert_layers"] == LAYERS
    kept = load_file(work / "models" / row["model_id"] / "model.safetensors")
    index = json.loads((checkpoint / "transformer" / INDEX).read_text())["weight_map"]
    theirs = "transformer_blocks.2.attn1_mot_ref.to_k.weight"
    expected = load_file(checkpoint / "transformer" / index[theirs])[theirs]
    (ours,) = (v for name, v in kept.items() if name.endswith("blocks.2.expert.attn1.to_k.weight"))
    assert torch.equal(ours, expected.bfloat16())
    # A second time it is the same model.
    assert typed(capsys, "models", "import", checkpoint, "-w", work)[0] == 0
    assert Catalog.open(work / "catalog").count("models") == 1
    shown = typed(capsys, "models", "show", row["model_id"], "-w", work)[1]
    assert "imported from VAP" in shown
    frames = draw_clip(3, 49, 64, 96)[0]
    (tmp_path / "melt.mp4").write_bytes(encode_video(frames, 8))
    Image.fromarray(frames[0]).save(tmp_path / "mug.png")
    words = ["--reference", tmp_path / "melt.mp4", "--first-frame", tmp_path / "mug.png", "--prompt", "a mug"]
    output = tmp_path / "out.mp4"
    status, _, err = typed(capsys, "generate", "-w", work, *words, "--steps", "1", "-o", output)
    assert status == 0, err
    assert read_clip(output.read_bytes()).shape == (49, 64, 96, 3)


def test_what_is_no_released_checkpoint_of_this_backbone_is_one_sentence(checkpoint, tmp_path, capsys):
    def refused(folder: Path, match: str, *words: object) -> None:
        status, _, err = typed(capsys, "models", "import", folder, "-w", tmp_path / "work", *words)
        assert status == 2 and match in " ".join(err.split()), err
        assert "Traceback" not in err

    def changed(name: str, **config: object) -> Path:
        """The checkpoint with another config.json."""
        folder = tmp_path / name
        shutil.copytree(checkpoint, folder)
        file = folder / "transformer" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
        return folder

    refused(tmp_path / "nowhere", "no " + str(tmp_path / "nowhere" / "transformer" / "config.json"))
    refused(shipped_model().path, "a model of this project, no released checkpoint")
    refused(changed("plain", block_idx_with_mot_ref=None), "no checkpoint of Video-As-Prompt")
    refused(changed("wan", _class_name="WanTransformer3DMOTModel"), "holds a WanTransformer3DMOTModel")
    refused(changed("other layers", block_idx_with_mot_ref=[0]), "unknown are")
    refused(changed("too many", block_idx_with_mot_ref=[0, 41]), "names block 41")
    wan = ["--set", "backbone.family=wan", "--set", "backbone.model=random:0"]
    refused(checkpoint, "is made for cogvideox, and this backbone is a wan", *wan)
    pickled = changed("pickled")
    for file in (pickled / "transformer").glob("*.safetensors*"):
        file.unlink()
    (pickled / "transformer" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    refused(pickled, "as a pickle (diffusion_pytorch_model.bin)")
    lacking = changed("lacking")
    next((lacking / "transformer").glob("*.safetensors")).unlink()
    refused(lacking, "not a whole safetensors file")
    assert not list((tmp_path / "work").glob("models/*"))
