"""Machines that lack something: one sentence, or another way."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import troubles
from jobs.cli import main
from jobs.ray_session import NoCluster, head_of, ray_folder

NOWHERE = "/proc/nowhere"  # not even root can write there


def refused(words: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_home_that_cannot_be_written_to_is_done_without(tmp_path):
    environment = {"HOME": "/proc", "TMPDIR": str(tmp_path), "MPLCONFIGDIR": "mine"}
    assert str(tmp_path) in troubles.prepare(environment)
    assert environment["VIDEO2LORA_CACHE"].startswith(str(tmp_path))
    assert environment["MPLCONFIGDIR"] == "mine"
    assert environment["RAY_AUTH_TOKEN"]


def test_a_home_of_ones_own_is_left_alone(tmp_path):
    environment = {"HOME": str(tmp_path)}
    assert troubles.prepare(environment) is None
    assert environment == {"HOME": str(tmp_path)}


def test_a_temporary_folder_that_is_missing_is_said_at_once(capsys, monkeypatch):
    monkeypatch.setenv("TMPDIR", NOWHERE)
    assert "TMPDIR" in refused(["embed"], capsys)


def test_a_long_temporary_folder_does_not_make_socket_names_too_long():
    assert ray_folder("/tmp/" + 100 * "x") == "/tmp/ray"
    assert ray_folder("/tmp/x") is ray_folder(None) is None


@pytest.mark.parametrize("words", [["sample", NOWHERE], ["sample", "/dev/null/x"]], ids=" ".join)
def test_a_folder_that_cannot_be_written_to_is_one_sentence(words, capsys):
    assert words[-1] in refused(words, capsys)


def test_a_workdir_that_cannot_be_written_to_names_its_option(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert f"--workdir {NOWHERE}" in refused(["ingest", str(tmp_path), "-w", NOWHERE], capsys)


def test_a_catalogue_at_an_address_that_holds_none_names_its_option(tmp_path, capsys):
    said = refused(["search", "x", "-w", str(tmp_path), "--catalog", "foo://bar"], capsys)
    assert "--catalog foo://bar" in said and "s3://" in said


def test_a_bucket_that_is_not_there_is_named(tmp_path, capsys, s3_endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    said = refused(["search", "x", "-w", str(tmp_path), "--catalog", "s3://no-such-bucket/x"], capsys)
    assert "no-such-bucket" in said and ".rs:" not in said


def test_a_full_disk_is_a_sentence_and_a_bug_is_not():
    with pytest.raises(OSError) as full, Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)
    assert "full" in troubles.sentence(full.value)
    assert "full" in troubles.sentence(RuntimeError("lance error: No space left on device (os error 28)"))
    assert troubles.sentence(FileNotFoundError(2, "No such file", "x")) is None
    assert troubles.sentence(ValueError("x")) is None


@pytest.mark.parametrize("option", ["--workdir", "--profile", "--catalog"])
def test_a_name_of_300_characters_is_a_sentence(option, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "300 characters, more than a disk takes" in refused(["train", option, "x" * 300], capsys)


@pytest.mark.parametrize("address", ["nonsense", "10.0.0.5", "10.0.0.5:x", ":6379", "h:0", "ray://h:10001"])
def test_an_address_that_is_none_says_what_one_looks_like(address):
    with pytest.raises(NoCluster, match=re.escape("10.0.0.5:6379")):
        head_of(address)


def test_an_address_is_split_at_its_port():
    assert head_of("[::1]:6379") == ("::1", 6379)
    assert head_of("head.example:1") == ("head.example", 1)


def test_an_address_where_nobody_listens_is_said_and_leaves_no_running_row(tmp_path, capsys, monkeypatch):
    # As in a process of its own: a Ray that runs in this one already would be used.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    from catalog.clip_spec import ClipSpec
    from catalog.store import Catalog

    catalog = Catalog.create(str(tmp_path / "catalog"), ClipSpec(49, 8, 480, 720))
    said = refused(["embed", "-w", str(tmp_path), "--address", "127.0.0.1:9"], capsys)
    assert "Nobody answers at 127.0.0.1:9" in said
    assert [row["status"] for row in catalog.scan("runs").to_pylist()] == ["failed"]


def test_a_run_whose_process_was_killed_counts_as_interrupted_and_others_are_left_alone(tmp_path):
    from catalog.clip_spec import ClipSpec
    from catalog.store import Catalog
    from jobs.runs import close_forgotten, this_process

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = this_process()
    processes = {
        "killed": mine | {"pid": ended.pid},
        "number given out again": mine | {"began": mine["began"] - 3600},
        "this one": mine,
        "of another machine": mine | {"pid": ended.pid, "host": "elsewhere"},
    }
    catalog = Catalog.create(str(tmp_path / "catalog"), ClipSpec(49, 8, 480, 720))
    rows = [
        {"run_id": name, "kind": "train", "status": "running", "metrics": {"process": process}}
        for name, process in processes.items()
    ]
    catalog.upsert("runs", [*rows, {"run_id": "of an older version", "status": "running", "metrics": {}}])
    assert sorted(close_forgotten(catalog)) == ["killed", "number given out again"]
    status = {row["run_id"]: row["status"] for row in catalog.scan("runs").to_pylist()}
    assert status == {
        "killed": "interrupted",
        "number given out again": "interrupted",
        "this one": "running",
        "of another machine": "running",
        "of an older version": "running",
    }
    assert os.getpid() == mine["pid"]


def test_a_command_counts_its_seconds_from_the_start_of_its_process_to_a_tenth():
    code = "import time; time.sleep(0.3); from jobs.runs import process_seconds; print(process_seconds())"
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 0.3 <= float(said) <= time.monotonic() - began + 0.1
