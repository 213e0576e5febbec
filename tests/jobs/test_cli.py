"""The command line as a person meets it: help with examples, one sentence and status 2 for a bad request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "sample",
    "pocket",
    "run",
    "ingest",
    "dedup",
    "judge",
    "embed",
    "cluster",
    "encode",
    "train",
    "generate",
    "evaluate",
    "edit",
    "adapter",
    "batch",
    "search",
    "models",
    "trace",
    "retrain",
    "decisions",
    "schedule",
    "doctor",
)


def video2lora(
    *words: str, cwd: Path | None = None, seconds: float = 600, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("video2lora")), *words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def test_help_names_every_command():
    done = video2lora("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_carries_an_example(command):
    done = video2lora(command, "--help")
    assert done.returncode == 0
    assert f"video2lora {command}" in done.stdout.split("Example")[-1]


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_does_not_exist_is_said_before_anything_is_made(tmp_path):
    refused(video2lora("run", "nowhere", "-w", "work", cwd=tmp_path), "nowhere")
    assert not (tmp_path / "work" / "catalog").exists()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "videos").mkdir()
    refused(video2lora("run", "videos", "-w", "work", cwd=tmp_path), "videos")


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "notes.txt").write_text("no video here")
    refused(video2lora("ingest", "videos", "-w", "work", cwd=tmp_path), "videos")


def test_an_unknown_key_of_a_profile_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("[train]\nstepz = 5\n")
    refused(video2lora("train", "-w", "work", "--profile", "mine.toml", cwd=tmp_path), "did you mean 'steps'")


@pytest.mark.parametrize("words", [("train",), ("embed",), ("search", "red"), ("encode",)])
def test_a_step_before_there_is_a_catalogue_says_what_comes_first(tmp_path, words):
    refused(video2lora(*words, "-w", "work", cwd=tmp_path), "video2lora run")


def test_a_workdir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "work").write_text("")
    refused(video2lora("search", "red", "-w", "work", cwd=tmp_path), "is a file")


def test_a_catalogue_of_another_clip_spec_is_refused(tmp_path):
    from catalog.clip_spec import ClipSpec
    from catalog.store import Catalog

    Catalog.create(str(tmp_path / "work" / "catalog"), ClipSpec(num_frames=17, fps=8, height=64, width=96))
    done = video2lora("search", "red", "-w", "work", cwd=tmp_path)
    refused(done, "17f")
    assert "49f" in done.stderr


def test_a_search_for_nothing_says_what_to_give(tmp_path):
    refused(video2lora("search", "-w", "work", cwd=tmp_path), "--like")
