"""A working directory in a bucket: what it remembers, from whatever machine, and what it refuses."""

from pathlib import Path

import pytest

from jobs.bucket_dir import BucketDir, workdir_of
from jobs.cli import main
from jobs.workspace import Workspace
from tests.faulty_store import PASS, now_and_then, read_only
from tests.s3_bucket import new_bucket
from training import objects
from training.objects import listed


@pytest.fixture
def uri(store, s3_endpoint) -> str:
    return f"s3://{new_bucket(s3_endpoint)}/a/work"


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([*words])
    assert left.value.code == 2
    return capsys.readouterr().err


def test_an_address_is_told_as_it_was_typed_and_everything_else_is_a_folder():
    assert str(workdir_of("s3://b/p/q/")) == f"{workdir_of('s3://b/p/q').absolute()}" == "s3://b/p/q"
    assert workdir_of("s3://b/p/q").inside == Path("b/p/q")
    assert not isinstance(workdir_of("some/s3:"), BucketDir)


def test_what_one_machine_has_written_another_one_has(store, uri, tmp_path, monkeypatch):
    store.fault = now_and_then
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path / "one"))
    first = Workspace(workdir_of(uri), overrides=["train.steps=7"])
    first.remember_profile()
    (first.folder("generated") / "a.mp4").write_bytes(b"clip")
    (first.folder("evaluations") / "measured.json").write_text("{}")
    (first.folder("runs") / "kept-by-itself").write_text("")
    first.keep()
    assert sorted(listed(uri)) == ["evaluations/measured.json", "generated/a.mp4", "profile.json"]
    written = listed(uri)["generated/a.mp4"].mtime_ns
    Workspace(workdir_of(uri)).keep()
    assert listed(uri)["generated/a.mp4"].mtime_ns == written  # it was there
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path / "two"))
    second = Workspace(workdir_of(uri))
    assert second.profile.train.steps == 7
    assert (second.folder("evaluations") / "measured.json").read_text() == "{}"
    assert (second.catalog_uri, second.runs_uri) == (f"{uri}/catalog", f"{uri}/runs")


def test_a_bucket_that_turns_read_only_is_one_sentence_and_keeps_what_it_has(
    store, uri, tmp_path, monkeypatch
):
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path))
    workspace = Workspace(workdir_of(uri))
    workspace.remember_profile()
    store.fault = read_only
    (workspace.root / "report.html").write_text("new")
    with pytest.raises(objects.StoreError, match="refuses access"):
        workspace.keep()
    assert list(listed(uri)) == ["profile.json"]
    store.fault = lambda *_: PASS
    workspace.keep()
    assert list(listed(uri)) == ["profile.json", "report.html"]


def test_an_act_on_a_catalogue_whose_bucket_turns_read_only_is_one_sentence_and_can_be_done_later(
    store, uri, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Workspace(workdir_of(uri)).existing_catalog()
    store.fault = read_only
    said = refused(capsys, "category", "add", "glow", "-w", uri)
    assert "The bucket refuses access to" in said and "What was done is kept" in " ".join(said.split())
    store.fault = lambda *_: PASS
    with pytest.raises(SystemExit) as left:
        main(["category", "add", "glow", "-w", uri])
    assert left.value.code == 0
    assert f"undo 1 -w {uri}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["schedule", "list", "-w", "s3://b/p"], "--catalog s3://b/p/catalog"),
        (["serve", "-w", "s3://b/p"], "needs a folder of this machine"),
        (["search", "x", "-w", "s3://"], "names no place in a bucket"),
        (["search", "x", "-w", "s3://no-such-bucket-here/p"], "There is no bucket 'no-such-bucket-here'"),
    ],
)
def test_what_cannot_be_there_is_one_sentence(store, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path))
    said = refused(capsys, *words)
    assert sentence in " ".join(said.split())
