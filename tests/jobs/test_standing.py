"""A run that would find nothing to do says so at once, without loading much; any change makes it look."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.place import Place
from jobs.standing import remember, tell_if_it_stands
from jobs.workspace import Workspace

SAID = ["1 inputs: 1 accepted", "Open page"]


def request(folder: Path, *overrides: str) -> tuple[Workspace, Place]:
    workspace = Workspace(folder / "work", overrides=[f"embed.pretrained={folder / 'clip'}", *overrides])
    return workspace, Place.of(str(folder / "videos"), None, [], {})


@pytest.fixture
def finished(tmp_path) -> Path:
    """A folder with a workspace in which a run has just finished; nobody looks into its files here."""
    for name in ("videos/melt/a.mp4", "work/report.html", "work/models/m/model.json", "clip/weights"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\x00something")
    workspace, place = request(tmp_path)
    workspace.catalog.upsert("sources", [{"source_uri": "a.mp4", "outcome": "rejected", "reason_code": "x"}])
    remember(workspace, place, [tmp_path / "work" / "report.html", tmp_path / "work" / "models"], SAID)
    return tmp_path


def test_a_request_that_stands_is_told_with_what_it_left(finished, capsys):
    assert tell_if_it_stands(*request(finished))
    said = capsys.readouterr().out
    assert "Nothing is to be done" in said and "Done in" in said
    assert "\n".join(SAID) in said


def test_a_row_of_runs_is_no_change(finished):
    workspace, place = request(finished)
    workspace.catalog.upsert("runs", [{"run_id": "judge-1"}])
    assert tell_if_it_stands(workspace, place)


CHANGES = {
    "another video": lambda folder: (folder / "videos" / "b.mp4").write_bytes(b"\x00more"),
    "another video's bytes": lambda folder: (folder / "videos/melt/a.mp4").write_bytes(b"\x00something else"),
    "a caption": lambda folder: (folder / "videos" / "melt" / "a.txt").write_text("a red mug"),
    "another label": lambda folder: (folder / "videos" / "melt").rename(folder / "videos" / "crush"),
    "a page that is gone": lambda folder: (folder / "work" / "report.html").unlink(),
    "a torn model": lambda folder: (folder / "work/models/m/model.json").write_bytes(b""),
    "other weights": lambda folder: (folder / "clip" / "weights").write_bytes(b"others"),
    "an act": lambda folder: request(folder)[0].catalog.upsert("clips", [{"clip_id": "x"}]),
    "a catalogue that is gone": lambda folder: (folder / "work" / "catalog").rename(folder / "elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_run_depends_on_makes_it_look_again(finished, change):
    CHANGES[change](finished)
    assert not tell_if_it_stands(*request(finished))


def test_another_setting_makes_it_look_again(finished):
    assert not tell_if_it_stands(*request(finished, "train.steps=7"))


def test_an_input_that_is_due_to_be_tried_again_keeps_it_looking(finished):
    workspace, place = request(finished)
    workspace.catalog.upsert("sources", [{"source_uri": "b.mp4", "outcome": "quarantined"}])
    remember(workspace, place, [], SAID)
    assert not tell_if_it_stands(workspace, place)


def test_the_command_says_it_without_loading_what_works(finished):
    script = (
        "import sys\nfrom jobs.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        "    print(sorted({'torch', 'ray', 'lancedb', 'open_clip', 'diffusers'} & set(sys.modules)))\n"
    )
    words = ["run", str(finished / "videos"), "-w", str(finished / "work")]
    words += ["--set", f"embed.pretrained={finished / 'clip'}"]
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert "Nothing is to be done" in done.stdout
    assert done.stdout.endswith("[]\n")
