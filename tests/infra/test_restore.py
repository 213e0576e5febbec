"""The runbook's way back from a backup, typed as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store import Catalog
from jobs.workspace import Workspace
from tests.infra.manifests import INFRA
from tests.jobs.test_cli import video2lora
from tests.pipeline.made import GEOMETRY, make_catalog

pytestmark = pytest.mark.slow


def typed(section: str) -> str:
    """The commands of a section of the runbook."""
    text = (INFRA / "runbook.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.S)
    return block


@pytest.fixture
def work(tmp_path) -> Path:
    """A working directory with a catalogue, an act, a snapshot and a model beside it."""
    make_catalog(tmp_path / "work", {"a": ("melt", "Melt"), "b": ("glow", "Glow")})
    Workspace(tmp_path / "work", overrides=GEOMETRY).remember_profile()
    for words in (["clip", "reject", "a", "-w", "work"], ["snapshot", "take", "v1", "-w", "work"]):
        done = video2lora(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_catalogue_comes_back_whole_and_can_be_worked_on(work):
    before = state(work / "work")
    done = subprocess.run(
        ["bash", "-euc", typed("Restore from backup")],
        cwd=work,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    # What happened after the backup is not in what is restored.
    assert video2lora("clip", "reject", "b", "-w", "work", cwd=work).returncode == 0
    assert state(work / "restored") == before != state(work / "work")
    listed = video2lora("snapshot", "list", "-w", "restored", cwd=work)
    assert "v1" in listed.stdout
    done = video2lora("clip", "approve", "a", "-w", "restored", cwd=work)
    assert done.returncode == 0, done.stderr
    assert state(work / "restored")["a"] == "accepted"


def test_a_backup_is_not_restored_over_what_is_there(work):
    assert video2lora("backup", "backups/today", "-w", "work", cwd=work).returncode == 0
    done = video2lora("restore", "backups/today", "-w", "work", cwd=work)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert state(work / "work")["a"] == "rejected"


def state(workdir: Path) -> dict[str, str]:
    rows = Catalog.open(workdir / "catalog").scan("clips", ["clip_id", "status"]).to_pylist()
    return json.loads(json.dumps({row["clip_id"]: row["status"] for row in rows}))
