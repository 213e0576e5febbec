"""The whole way of one video, as a person walks it: real files in, a report and generated videos out."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog.store import Catalog
from pipeline.samples.write import write_samples
from pipeline.video.transcode import read_clip
from tests.jobs.test_cli import video2lora

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

# A smaller clip than the default's 480×720 keeps this short; the demo and the ingest tests use that.
SMALL = ["--set", "clip.height=128", "--set", "clip.width=192"]
QUICK = ["--set", "train.steps=6", "--set", "train.checkpoint_every=2"]
FEW = ["--set", "generate.steps=3", "--set", "examples.polish=2"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    done = video2lora(*words, seconds=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Eight sample clips of two categories, and three files that cannot become one."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    clips = write_samples(folder, per_category=4, seed=3, effects=["melt", "pan_left"], workers=1)
    (folder / "melt" / "notes.mp4").write_text("This is a text file.")
    (folder / "melt" / "empty.mp4").write_bytes(b"")
    whole = next(clip.path for clip in clips if Path(clip.path).suffix in (".mp4", ".mov"))
    data = (folder / whole).read_bytes()
    (folder / "pan_left" / "truncated.mp4").write_bytes(data[: len(data) // 3])
    # A data set in labelled folders, as strangers have it: without the writer's own manifest.
    (folder / "captions.jsonl").rename(folder.parent / "captions.jsonl")
    return folder


@pytest.fixture(scope="module")
def workdir(videos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workdir")
    run("run", str(videos), "-w", str(folder), "--workers", "2", *SMALL, *QUICK, *FEW)
    return folder


def report(workdir: Path, name: str = "report.json") -> dict:
    return json.loads((workdir / name).read_text())


def test_every_input_is_accounted_for_and_the_bad_ones_have_a_reason(workdir):
    counts = report(workdir)["counts"]
    assert counts["found"] == 11
    parts = ("accepted", "duplicate", "rejected", "quarantined")
    assert sum(counts[part] for part in parts) == counts["found"]
    assert counts["accepted"] == 8
    rows = Catalog.open(workdir / "catalog").scan("sources", ["source_uri", "outcome", "reason"]).to_pylist()
    refused = {Path(row["source_uri"]).name: row["reason"] for row in rows if row["outcome"] != "accepted"}
    assert set(refused) == {"notes.mp4", "empty.mp4", "truncated.mp4"}
    assert all(refused.values())


def test_every_clip_is_exactly_the_spec_and_has_its_features(workdir):
    catalog = Catalog.open(workdir / "catalog")
    clips = catalog.scan("clips", ["clip_id", "category_id", "embedding"]).to_pylist()
    videos = catalog.videos([clip["clip_id"] for clip in clips])
    assert {read_clip(video).shape for video in videos.values()} == {(49, 128, 192, 3)}
    assert {clip["category_id"] for clip in clips} == {"melt", "pan_left"}
    assert all(np.isclose(np.linalg.norm(clip["embedding"]), 1, atol=1e-3) for clip in clips)
    encoded = {row["clip_id"] for row in catalog.scan("features", ["clip_id"]).to_pylist()}
    assert encoded >= {clip["clip_id"] for clip in clips}


def test_the_report_shows_what_was_made(workdir):
    facts = report(workdir)
    assert [step["name"] for step in facts["steps"]] == [
        "ingest",
        "dedup",
        "embed",
        "cluster",
        "encode",
        "prepare training",
        "train",
        "generate",
    ]
    assert facts["training"]["steps"] == 6
    assert facts["peak_rss_mb"] > 0
    assert facts["tables"]["models"] == 1
    page = (workdir / "report.html").read_text()
    assert "trained on its own rendered effects" in page and "began with video2lora-" in page
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(linked) >= 2 + 1 + 4 * len(facts["generated"])
    assert all((workdir / name).is_file() for name in linked)


def test_two_workers_trained_together(workdir):
    rows = Path(report(workdir)["training"]["metrics_path"]).read_text().splitlines()
    assert [json.loads(row)["workers"] for row in rows] == [2] * 6


def test_a_generated_video_plays_and_lies_beside_its_lora(workdir):
    from safetensors.torch import load_file

    made = report(workdir)["generated"]
    assert made
    for one in made:
        assert one["seen"] and one["polish"] == 2
        clips = [read_clip((workdir / one[name]).read_bytes()) for name in ("video", "polished")]
        assert {clip.shape for clip in clips} == {(49, 64, 96, 3)}
        assert not np.array_equal(*clips)
        assert any(name.endswith("lora_A.weight") for name in load_file(workdir / one["lora"]))


def test_a_second_run_starts_no_worker_and_leaves_everything(workdir, videos):
    before = (workdir / "report.json").read_text()
    done = run("run", str(videos), "-w", str(workdir), "--workers", "2", *SMALL, *QUICK, *FEW)
    assert "Nothing is to be done" in done.stdout and "Starting workers" not in done.stderr
    assert "11 inputs: 8 accepted" in done.stdout
    assert (workdir / "report.json").read_text() == before


def test_a_run_with_a_little_to_do_decodes_nothing_and_trains_nothing_again(workdir, videos):
    before = report(workdir)
    (workdir / "report.html").unlink()
    done = run("run", str(videos), "-w", str(workdir), "--workers", "2", *SMALL, *QUICK, *FEW)
    after = report(workdir)
    assert after["counts"]["decoded"] == 0
    assert after["counts"]["embedded"] == after["counts"]["encoded"] == 0
    assert after["training"]["model_id"] == before["training"]["model_id"]
    assert all(one["kept"] for one in after["generated"])
    assert [one["video"] for one in after["generated"]] == [one["video"] for one in before["generated"]]
    page = (workdir / "report.html").read_text()
    assert re.search(r"training steps</td><td[^>]*>0</td><td[^>]*>6</td>", page)
    assert "nothing was trained again" in done.stdout


def test_an_interrupted_training_goes_on_where_it_was(workdir):
    words = ["train", "-w", str(workdir), "--steps", "24", "--workers", "1"]
    words += ["--set", "train.checkpoint_every=2"]
    executable = shutil.which("video2lora", path=str(Path(os.sys.executable).parent))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([executable, *words], **pipes)
    known = set((workdir / "runs").iterdir())
    while process.poll() is None:
        started = set((workdir / "runs").iterdir()) - known
        if any(list(path.glob("checkpoints/step-*4")) for path in started):
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert "the same command goes on from there" in output
    run(*words)
    training = report(workdir, "reports/train.json")["training"]
    assert training["steps"] == 24
    assert 4 <= training["resumed_from"] < 24
    rows = [json.loads(line) for line in Path(training["metrics_path"]).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 25))


def test_generate_takes_files_of_a_stranger(workdir, videos, tmp_path):
    Image.fromarray(np.full((90, 70, 3), 200, np.uint8)).save(tmp_path / "first.png")
    reference = next(path for path in sorted((videos / "melt").iterdir()) if path.stat().st_size > 1000)
    output = tmp_path / "out.mp4"
    words = ["--reference", str(reference), "--first-frame", str(tmp_path / "first.png"), "--prompt", "a mug"]
    run("generate", "-w", str(workdir), *words, "-o", str(output), "--steps", "2")
    assert read_clip(output.read_bytes()).shape == (49, 64, 96, 3)
    assert output.with_suffix(".lora.safetensors").is_file()


@pytest.mark.parametrize("bad", ["text", "missing"])
def test_a_reference_that_is_no_video_is_one_sentence(workdir, tmp_path, bad):
    file = tmp_path / "reference.mp4"
    if bad == "text":
        file.write_text("not a video")
    words = ["--reference", str(file), "--first-frame", str(file), "--prompt", "a mug"]
    done = video2lora("generate", "-w", str(workdir), *words)
    assert done.returncode == 2
    assert "reference.mp4" in done.stderr and "Traceback" not in done.stderr


def test_search_finds_by_words_by_filter_and_by_example(workdir, videos):
    def found(*words: str) -> list[dict]:
        return json.loads(run("search", "-w", str(workdir), "--json", *words).stdout)

    hits = found("melt")
    assert hits[0]["category"] == "melt"
    assert "its category is melt" in hits[0]["why"] and all(row["why"] for row in hits)
    assert {row["category_id"] for row in found("--where", "category = 'pan_left'")} == {"pan_left"}
    reference = next(path for path in sorted((videos / "melt").iterdir()) if path.stat().st_size > 1000)
    best = found("--like", str(reference), "--limit", "1")[0]
    assert best["source_uri"].endswith(reference.name)
    assert best["score"] > 0.999


def test_a_filter_that_cannot_be_read_is_one_sentence(workdir):
    done = video2lora("search", "-w", str(workdir), "--where", "categry = 'melt'")
    assert done.returncode == 2
    assert "categ" in done.stderr and "Traceback" not in done.stderr


def test_weights_that_a_run_lacks_are_said_before_its_first_input_is_read(videos, tmp_path):
    done = video2lora("run", str(videos), "-w", str(tmp_path / "w"), "--profile", "full")
    assert done.returncode == 2, done.stderr
    assert "hf download zai-org/CogVideoX-5b-I2V" in done.stderr
    assert "hf download timm/" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "w" / "catalog").exists()


def test_unreachable_weights_say_what_to_download_and_which_option_names_the_folder(workdir):
    words = ["train", "-w", str(workdir), "--set", "backbone.model=zai-org/CogVideoX-5b-I2V"]
    done = video2lora(*words, HF_HUB_OFFLINE="0")
    assert done.returncode == 2, done.stderr
    assert "zai-org/CogVideoX-5b-I2V" in done.stderr
    assert "hf download" in done.stderr and "model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_method_goes_the_same_way_by_one_setting(workdir, videos, tmp_path):
    """References in the context. Last: from here on the newest model is its."""
    words = ["train", "-w", str(workdir), "--set", "method.kind=video_as_prompt"]
    words += ["--set", "train.checkpoint_every=2", "--set", "train.evaluate_every=2"]
    said = run(*words, "--steps", "2").stdout
    training = report(workdir, "reports/train.json")["training"]
    model = training["model_id"]
    assert model.startswith("video_as_prompt-")
    assert "no trained video_as_prompt comes with this backbone" in said
    assert training["evaluation"]["pairs_seen"] >= 1
    assert list((Path(training["metrics_path"]).parent / "samples").rglob("*.mp4"))
    assert "nothing was trained again" in run(*words, "--steps", "2").stdout
    clips = Catalog.open(workdir / "catalog").scan("clips", ["clip_id", "category_id"]).to_pylist()
    pan = next(c["clip_id"] for c in clips if c["category_id"] == "pan_left")
    stranger = next(path for path in sorted((videos / "melt").iterdir()) if path.stat().st_size > 1000)
    scene = ["--first-frame", pan, "--prompt", "a mug", "-o", str(tmp_path / "out.mp4"), "--steps", "2"]
    run("generate", "-w", str(workdir), "--model", model, "--reference", str(stranger), *scene)
    assert read_clip((tmp_path / "out.mp4").read_bytes()).shape == (49, 64, 96, 3)
    # It makes no adapter, so no LoRA lies beside it.
    assert not (tmp_path / "out.lora.safetensors").exists()
