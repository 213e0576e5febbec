"""The import rules: rooms downwards, and nothing but a registry names a method or a family of backbones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("catalog", "jobs", "pipeline", "training")
# What the rules name has to be there.
NAMED = (
    "pipeline/pocket",
    "training/backbones/cogvideox",
    "training/backbones/registry",
    "training/backbones/wan",
    "training/backbones/weights",
    "training/methods/category_lora",
    "training/methods/lora_edit",
    "training/methods/registry",
    "training/methods/video2lora",
    "training/methods/video_as_prompt",
    "training/pretrain",
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("lint-imports")),
            "--config",
            str(PROJECT / "pyproject.toml"),
            "--no-cache",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def small_house(folder: Path) -> None:
    """Empty rooms, with everything that the rules name."""
    for name in (*ROOMS, "training/backbones", "training/methods", *NAMED):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
    assert lint(folder).returncode == 0


def test_the_rooms_import_downwards_only():
    done = lint(PROJECT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("training", "import catalog"),
        ("catalog", "import training"),
        ("pipeline", "import jobs"),
        ("catalog", "import torch"),
        ("training", "import lancedb"),
        ("training", "import training.methods.video2lora"),
        ("pipeline", "from training.methods import category_lora"),
        ("jobs", "import training.backbones.cogvideox"),
    ],
)
def test_an_upward_or_sideways_import_is_refused(tmp_path, room, line):
    small_house(tmp_path)
    (tmp_path / room / "shortcut.py").write_text(line + "\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert f"{room}.shortcut" in done.stdout


def test_an_import_that_runs_in_a_circle_inside_the_catalogue_is_refused(tmp_path):
    small_house(tmp_path)
    (tmp_path / "catalog" / "low.py").write_text("from catalog import high\n")
    (tmp_path / "catalog" / "high.py").write_text("from catalog import low\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "No cycles are allowed in catalog" in done.stdout
