"""Captions as trainers keep them: lists beside lists, a text beside each video, one file of all."""

import json

import pytest

from pipeline.errors import PipelineError
from pipeline.sources.survey import survey
from tests.pipeline.sources.test_survey import put


def captions(place) -> dict[str, str | None]:
    return {source.uri.rpartition("/")[2]: source.caption for source in survey(place).sources}


@pytest.mark.parametrize("videos", ["video.txt", "videos.txt"])
@pytest.mark.parametrize("prompts", ["prompt.txt", "prompts.txt", "caption.txt", "captions.txt"])
def test_every_spelling_of_the_lists_is_read(tmp_path, videos, prompts):
    put(tmp_path, "videos/1.mp4", "videos/2.mp4")
    (tmp_path / videos).write_text("videos/1.mp4\nvideos/2.mp4\n")
    (tmp_path / prompts).write_text("a ball\na cup\n")
    assert survey(tmp_path).layout == "finetrainers"
    assert captions(tmp_path) == {"1.mp4": "a ball", "2.mp4": "a cup"}


@pytest.mark.parametrize(
    ("videos", "prompts", "read"),
    [
        ("1.mp4\n2.mp4\n\n\n", "a ball\na cup", ["a ball", "a cup"]),
        ("1.mp4\n\n2.mp4\n", "a ball\na cup\n", ["a ball", "a cup"]),
        ("1.mp4\r\n2.mp4\r\n", "a ball\u2028melts\na cup\n", ["a ball\u2028melts", "a cup"]),
        ("1.mp4\n2.mp4\n", "\na cup\n", [None, "a cup"]),
    ],
    ids=["blank at the end", "blank between", "a separator within a line", "an empty prompt"],
)
def test_lines_go_together_as_they_were_meant(tmp_path, videos, prompts, read):
    put(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "videos.txt").write_text(videos, newline="")
    (tmp_path / "prompts.txt").write_text(prompts, newline="")
    assert list(captions(tmp_path).values()) == read


def test_a_second_list_of_prompts_is_said(tmp_path):
    put(tmp_path, "1.mp4")
    for name, text in (("videos.txt", "1.mp4"), ("prompts.txt", "a ball"), ("captions.txt", "a cup")):
        (tmp_path / name).write_text(text)
    found = survey(tmp_path)
    assert (found.sources[0].caption, found.notes) == ("a ball", ["captions.txt was not read"])


def test_a_text_beside_a_video_is_its_caption(tmp_path):
    put(tmp_path, "melt/a.mp4", "melt/b.mkv", "melt/c.mp4")
    put(tmp_path, "melt/a.txt", data="\ufeffa red ball\n".encode())
    put(tmp_path, "melt/b.txt", data="caf\u00e9".encode("latin-1"))
    found = survey(tmp_path)
    assert captions(tmp_path) == {"a.mp4": "a red ball", "b.mkv": None, "c.mp4": None}
    assert found.notes == ["1 captions are from .txt files beside the videos"]
    assert [(place[-5:], reason) for place, reason in found.skipped] == [
        ("b.txt", "no caption: it is not UTF-8")
    ]


def test_one_object_of_captions_is_read(tmp_path):
    """diffusion-pipe's captions.json: a caption or several by file name."""
    put(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "captions.json").write_text(json.dumps({"a.mp4": ["a ball", "a red ball"], "b.mp4": "a cup"}))
    found = survey(tmp_path)
    assert captions(tmp_path) == {"a.mp4": "a ball", "b.mp4": "a cup"}
    assert found.notes == ["1 videos have several captions; the first of each counts"]


def test_a_list_of_lines_of_any_name_is_read(tmp_path):
    """musubi-tuner: a .jsonl of video_path and caption."""
    put(tmp_path, "a.mp4")
    (tmp_path / "my set.jsonl").write_text(json.dumps({"video_path": "a.mp4", "caption": "a ball"}))
    assert survey(tmp_path).layout == "musubi"
    assert captions(tmp_path) == {"a.mp4": "a ball"}


def test_lists_of_different_length_are_refused_with_both_numbers(tmp_path):
    put(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "video.txt").write_text("1.mp4\n2.mp4\n")
    (tmp_path / "caption.txt").write_text("a ball\n")
    with pytest.raises(PipelineError, match="line 2: 2 videos but 1 prompts in caption"):
        survey(tmp_path)
