"""`--log json`: the error stream as JSON lines, and results where they were."""

import json

import pytest

from jobs.workspace import Workspace
from tests.jobs.test_cli import video2lora
from tests.pipeline.made import GEOMETRY, make_catalog


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "work"
    make_catalog(folder, {"a": ("melt", "Melt"), "b": ("glow", "Glow")})
    Workspace(folder, overrides=GEOMETRY).remember_profile()
    return folder


def test_every_line_of_a_run_has_its_id_and_says_how_it_began_and_ended(work):
    done = video2lora("--log", "json", "dedup", "-w", str(work))
    assert done.returncode == 0, done.stderr
    told = lines(done.stderr)
    assert all(line.keys() >= {"time", "level", "command", "run", "event"} for line in told)
    assert {line["command"] for line in told} == {"dedup"}
    (began,) = [number for number, line in enumerate(told) if line["event"] == "run began"]
    (ended,) = [line for line in told if line["event"] == "run ended"]
    runs = {line["run"] for line in told[began:]}
    assert len(runs) == 1 and next(iter(runs)).startswith("dedup-")
    assert ended["status"] == "finished" and ended["seconds"] > 0
    steps = [(line["event"], line["step"]) for line in told if line["event"].startswith("step")]
    assert steps == [("step began", "dedup"), ("step ended", "dedup")]


def test_what_a_command_prints_for_programs_stays_as_it_is(work):
    plain = video2lora("history", "--json", "-w", str(work))
    logged = video2lora("history", "--json", "-w", str(work), VIDEO2LORA_LOG="json")
    assert logged.stdout == plain.stdout
    lines(logged.stderr)


@pytest.mark.parametrize("words", [("search", "red", "-w", "nowhere"), ("serach",)])
def test_a_refusal_is_one_line_of_the_level_error(words, tmp_path):
    done = video2lora(*words, cwd=tmp_path, VIDEO2LORA_LOG="json")
    assert done.returncode == 2
    errors = [line for line in lines(done.stderr) if line["level"] == "error"]
    assert len(errors) == 1
    assert errors[0]["message"].startswith("video2lora: ")


def test_another_format_is_refused_with_those_that_there_are(tmp_path):
    done = video2lora("--log", "xml", "history", cwd=tmp_path)
    assert done.returncode == 2
    assert "xml" in done.stderr and "json" in done.stderr
