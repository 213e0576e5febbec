"""What of a command line goes to a cluster, and what is said before anything is sent."""

from pathlib import Path

import pytest

from jobs.cli import app
from jobs.sending import BadSubmit, NamedPath, Sending, named_paths, require_seen, sending_of, sent_words


def test_without_submit_a_command_line_is_left_alone():
    assert sending_of(["train", "--workers", "2", "--address", "10.0.0.5:6379"]) is None
    assert sending_of(["search", "--", "--submit"]) is None


def test_where_a_command_runs_is_taken_out_of_its_words_wherever_it_stands():
    words = (
        "train --submit --job-id friday -w /shared --address=http://head:8265 --code image --steps 3 --detach"
    )
    assert sending_of(words.split()) == Sending(
        ("train", "-w", "/shared", "--steps", "3"), "http://head:8265", "friday", "image", True
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--submit", "--job-id"], "--job-id needs a value"),
        (["train", "--job-id", "--submit"], "--job-id needs a value"),
        (["train", "--submit", "--job-id", "a b"], "may hold letters"),
        (["train", "--submit", "--code", "mine"], "neither tree"),
        (["serve", "--submit"], "runs on this machine only"),
        (["job", "list", "--submit"], "runs on this machine only"),
        (["--submit"], "no command to send"),
    ],
)
def test_a_mistake_with_submit_is_one_sentence(words, says):
    with pytest.raises(BadSubmit, match=says):
        sending_of(words)


def test_every_path_is_sent_as_the_jobs_own_folder_cannot_change_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "models" / "dit").mkdir(parents=True)
    words = ["run", "videos", "-p", "tiny", "--set", "backbone.model=models/dit", "--catalog=s3://bucket/fx"]
    sent = sent_words(words, named_paths(app, words))
    assert sent == [
        *("run", f"{tmp_path}/videos", "-p", "tiny", "--set", f"backbone.model={tmp_path}/models/dit"),
        *("--catalog=s3://bucket/fx", "--workdir", f"{tmp_path}/work"),
    ]


def test_what_is_no_path_is_sent_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "generate",
        "-w/shared/w",
        "--reference",
        "3f2a90",
        "--first-frame",
        "frames/a.png",
        "--prompt",
        "x",
    ]
    paths = named_paths(app, words)
    assert {path.typed for path in paths} == {"/shared/w", "frames/a.png"}
    assert sent_words(words, paths)[:4] == words[:4]
    assert f"{tmp_path}/frames/a.png" in sent_words(words, paths)


def test_a_working_directory_in_a_bucket_is_sent_as_it_is():
    words = ["train", "-w", "s3://bucket/work"]
    assert sent_words(words, named_paths(app, words)) == words


def test_words_that_the_command_does_not_understand_are_said_before_they_are_sent():
    with pytest.raises(Exception, match="No such option"):
        named_paths(app, ["train", "--stepz", "3"])


def test_a_path_on_a_disk_of_this_machine_is_refused_for_another_machines_cluster(tmp_path):
    paths = [NamedPath(str(tmp_path))]
    require_seen(paths, ["here"], "here")
    require_seen([NamedPath("/only-there/work")], ["head"], "here")
    with pytest.raises(BadSubmit, match="is on a disk of this machine, which head cannot read"):
        require_seen(paths, ["head", "here"], "here")


def test_a_path_that_only_means_something_from_here_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSubmit, match="--workdir work is taken from this folder, which head does not have"):
        require_seen([NamedPath("work", "--workdir")], ["head"], "here")
    assert Path(NamedPath("work").absolute) == tmp_path / "work"
