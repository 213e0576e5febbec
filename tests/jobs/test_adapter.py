"""Adapters as files, as a person handles them at the command line, with the shipped pocket model."""

import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from jobs.cli import app, main
from pipeline.samples.draw import draw_clip
from pipeline.video.transcode import encode_video


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for number in (3, 7):
        (folder / f"clip-{number}.mp4").write_bytes(encode_video(draw_clip(number, 49, 64, 96)[0], 8))
    Image.fromarray(draw_clip(5, 1, 64, 96)[0][0]).save(folder / "mug.png")
    for number in (3, 7):
        said = run(folder, "predict", f"clip-{number}.mp4", "-o", f"{number}.safetensors", model=True)
        assert "kB, and as a LoRA that diffusers loads" in said
    return folder


def told_of(place: Path, *words: str) -> dict:
    """What `inspect` prints for programs."""
    with chdir(place):
        done = CliRunner().invoke(app, ["adapter", "inspect", *words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def run(place: Path, *words: str, model: bool = False, group: str = "adapter") -> str:
    given = ["--model", "pocket", "-w", "work"] if model else []
    with chdir(place):
        done = CliRunner().invoke(app, [group, *words, *given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_an_adapter_is_mixed_exported_inspected_and_taken_back(place):
    said = run(place, "mix", "3.safetensors=0.7", "7.safetensors=-0.3", "-o", "both.safetensors", model=True)
    assert "of the sum's squared norm; --exact keeps all" in said
    sizes = [(place / name).stat().st_size for name in ("3.safetensors", "both.safetensors")]
    assert abs(sizes[1] - sizes[0]) < 1_000
    run(
        place,
        "mix",
        "3.safetensors=0.7",
        "7.safetensors=-0.3",
        "--exact",
        "-o",
        "exact.safetensors",
        model=True,
    )
    assert (place / "exact.safetensors").stat().st_size > 1.8 * sizes[0]
    for target in ("comfyui", "kijai", "diffusers"):
        said = run(
            place, "export", "both.safetensors", "--to", target, "-o", f"{target}.safetensors", model=True
        )
        assert "loads all" in said
        assert "a LoRA that video2lora-" in run(place, "load", f"{target}.safetensors", model=True)
        told = told_of(place, f"{target}.safetensors", "--to", target)
        assert (
            told["is"] == "a LoRA"
            and told["loads"][target]["linears"] == told["linears"] == told["tensors"] / 2
        )
        assert told["facts"]["blend"] == [
            {"reference": "a file", "weight": 0.7},
            {"reference": "a file", "weight": -0.3},
        ]
    again = run(
        place, "export", "comfyui.safetensors", "--to", "diffusers", "-o", "again.safetensors", model=True
    )
    assert "loads all" in again
    ours, theirs = load_file(place / "diffusers.safetensors"), load_file(place / "again.safetensors")
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    run(
        place,
        "polish",
        "both.safetensors",
        "clip-3.mp4",
        "--steps",
        "1",
        "-o",
        "polished.safetensors",
        model=True,
    )
    facts = told_of(place, "polished.safetensors")["facts"]
    assert facts["polish"]["steps"] == 1 and facts["blend"]


@pytest.mark.slow
def test_seeds_under_an_adapter_from_a_file_make_clips_and_a_sheet(place):
    asked = (
        "--adapter",
        "3.safetensors=1.5",
        "--first-frame",
        "mug.png",
        "--prompt",
        "a mug",
        "--steps",
        "1",
    )
    said = run(place, *asked, "--seeds", "0,4", "-o", "out.mp4", group="generate", model=True)
    assert "out-seed-0.mp4, and its LoRA" in said and "all of them side by side" in said
    clips = sorted(path.name for path in place.glob("out*"))
    assert clips == ["out-seed-0.lora.safetensors", "out-seed-0.mp4", "out-seed-4.mp4", "out-seeds.jpg"]
    sheet = np.asarray(Image.open(place / "out-seeds.jpg")).astype(int)
    assert sheet.shape[0] > 2 * 106 and sheet.shape[1] > 6 * 160
    assert (sheet[:20].min(axis=2) < 100).any(), "a label stands over the row"


@pytest.mark.slow
def test_a_full_disk_while_a_clip_is_written_is_a_sentence_and_leaves_nothing(place, small_disk, capsys):
    words = (
        "generate --adapter 3.safetensors --first-frame mug.png --prompt mug --steps 1 --model pocket -w work"
    )
    with chdir(place), pytest.raises(SystemExit) as ended:
        main([*words.split(), "-o", str(small_disk / "out.mp4")])
    assert ended.value.code == 2
    assert "is full" in capsys.readouterr().err.splitlines()[-1]
    assert list(small_disk.iterdir()) == []


def test_a_file_that_a_tool_would_not_load_ends_with_status_2_and_names_what_is_left(place, tmp_path, capsys):
    lora = load_file(place / "3.lora.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    save_file({f"model.{name}": value for name, value in lora.items()}, wrong)
    for words, says in (
        ((str(wrong), "--to", "diffusers"), "loads 0 linears"),
        ((str(place / "3.lora.safetensors"), "--to", "comfyui"), "--to comfyui"),
        ((str(place / "mug.png"),), "no whole safetensors file"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["adapter", "inspect", *words])
        first, said = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2 and says in said and first.startswith("Look into")
