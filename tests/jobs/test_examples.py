"""The clips of the page are made once: predicted, polished, or with a reason why not."""

from pathlib import Path

import pytest

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.examples import Example, _make
from pipeline.video.transcode import encode_video
from tests.pipeline.video.video_files import moving
from training.errors import BadMethodSettings
from training.settings import GenerateSettings


class Clip:
    def save(self, path: Path) -> None:
        path.write_bytes(b"clip")


class Rigid:
    """A studio whose model makes no adapter that could be polished."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.settings, self.asked = catalog, GenerateSettings(steps=2), []

    def make(self, reference, first_frame, prompt, progress, polish) -> Clip:
        self.asked.append(polish)
        if polish:
            raise BadMethodSettings("It makes no adapter.")
        return Clip()


@pytest.fixture
def studio(tmp_path) -> Rigid:
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    video = encode_video(moving(9, 64, 96), 8)
    catalog.upsert("clips", [{"clip_id": "a", "status": "accepted", "caption": "a mug"}])
    catalog.upsert("media", [{"clip_id": "a", "video": video, "poster": b"", "bytes": len(video)}])
    return Rigid(catalog)


@pytest.fixture
def example(tmp_path) -> Example:
    row = {"clip_id": "a", "caption": "a mug"}
    return Example(tmp_path / "a.mp4", tmp_path / "a-polished-4.mp4", row, row)


def test_what_cannot_be_polished_is_said_once_and_not_tried_again(studio, example, tmp_path):
    assert example.missing
    _make(studio, example, 4, lambda *_: None)
    assert studio.asked == [0, 4] and not example.missing and not example.polished.exists()
    assert "It makes no adapter." in (tmp_path / "a-polished-4.txt").read_text()


def test_only_what_is_missing_of_an_example_is_made(studio, example, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"of an interrupted run")
    _make(studio, example, 4, lambda *_: None)
    assert studio.asked == [4]
    assert (tmp_path / "a.mp4").read_bytes() == b"of an interrupted run"
