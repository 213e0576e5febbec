"""Sample files: every one decodes as promised, formats vary, and a second run has nothing to do."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.encode import encode_clip
from pipeline.samples.formats import ENCODINGS, MIN_FRAMES, ClipFormat, choose_format
from pipeline.samples.render import render_clip
from pipeline.samples.write import plan_samples, write_samples


def _formats(count: int = 36, seed: int = 0) -> list[ClipFormat]:
    return [choose_format(k // 3, k % 3, seed) for k in range(count)]


def _small(chosen: ClipFormat, frames: int = 14) -> ClipFormat:
    """The same format at a size that a test can afford; odd stays odd."""
    return dataclasses.replace(
        chosen, width=96 + chosen.width % 2, height=72 + chosen.height % 2, num_frames=frames
    )


def _decode(path: Path) -> tuple[list[np.ndarray], list[float], int]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    pixels = [frame.to_ndarray(format="rgb24") for frame in frames]
    return pixels, [float(frame.pts * frame.time_base) for frame in frames], int(frames[0].rotation)


def test_thirty_clips_vary_in_everything_that_normalising_has_to_level():
    formats = _formats(30)
    assert len({f.encoding.container for f in formats}) >= 5
    assert len({f.encoding.codec for f in formats}) >= 6
    assert len({f.encoding.pixel_format for f in formats}) >= 4
    assert len({f.rate for f in formats}) >= 6
    assert len({(f.width, f.height) for f in formats}) >= 20
    assert any(f.width < f.height for f in formats) and any(f.width > f.height for f in formats)
    assert any(f.width % 2 for f in formats)
    assert {f.variable for f in formats} == {True, False}
    assert any(f.rotation for f in formats)


def test_formats_stay_within_their_bounds_and_depend_on_the_seed_alone():
    formats = _formats(300, seed=5)
    for f in formats:
        assert 12 <= f.rate <= 60
        assert f.num_frames >= MIN_FRAMES
        assert 2 <= f.num_frames / f.rate <= 7.1
        assert 240 <= min(f.width, f.height) <= 721
        assert f.encoding.odd_sizes or (f.width % 2 == 0 and f.height % 2 == 0)
    assert formats == _formats(300, seed=5)
    assert formats != _formats(300, seed=6)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.suffix}-{e.codec}-{e.pixel_format}")
def test_every_encoding_decodes_with_the_promised_size_rate_and_pixels(tmp_path, encoding):
    odd = int(encoding.odd_sizes)
    chosen = ClipFormat(encoding, 96 + odd, 64 + odd, choose_format(0, 0, 0).rate, 12, False, 0)
    path = tmp_path / f"clip.{encoding.suffix}"
    encode_clip(path, "spin", 4, chosen)
    pixels, times, _ = _decode(path)
    rendered, _ = render_clip("spin", 4, 12, 64 + odd, 96 + odd)
    assert len(pixels) == 12 and pixels[0].shape == (64 + odd, 96 + odd, 3)
    assert np.allclose(np.diff(times), 1 / float(chosen.rate), atol=0.0015)
    for shown, meant in zip(pixels, rendered, strict=True):
        assert np.abs(shown.astype(int) - meant).mean() < 12


@pytest.mark.parametrize(
    "encoding", [e for e in ENCODINGS if e.timestamps], ids=lambda e: f"{e.suffix}-{e.codec}"
)
def test_a_variable_rate_file_keeps_its_irregular_times(tmp_path, encoding):
    chosen = ClipFormat(encoding, 96, 64, choose_format(0, 0, 0).rate, 14, True, 0)
    path = tmp_path / f"clip.{encoding.suffix}"
    encode_clip(path, "zoom_in", 9, chosen)
    _, times, _ = _decode(path)
    assert np.allclose(np.array(times) - times[0], chosen.ticks(9) / 1000, atol=0.0015)
    assert np.diff(times).std() > 0.1 * np.diff(times).mean()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_file_is_upright_once_its_rotation_is_applied(tmp_path, rotation):
    chosen = ClipFormat(ENCODINGS[0], 96, 64, choose_format(0, 0, 0).rate, 6, False, rotation)
    path = tmp_path / "clip.mp4"
    encode_clip(path, "pan_left", 7, chosen)
    pixels, _, turned = _decode(path)
    assert turned % 360 == rotation
    upright = np.rot90(pixels[0], turned // 90)
    assert upright.shape == (64, 96, 3)
    assert np.abs(upright.astype(int) - render_clip("pan_left", 7, 1, 64, 96)[0][0]).mean() < 12


@pytest.fixture
def cheap(monkeypatch):
    """Sample sets in their own formats, but small and short."""
    import pipeline.samples.write as write

    monkeypatch.setattr(write, "choose_format", lambda *place: _small(choose_format(*place)))


def test_a_set_lies_in_labelled_folders_with_a_manifest(tmp_path, cheap):
    seen = []
    clips = write_samples(
        tmp_path / "set",
        3,
        2,
        seed=1,
        workers=1,
        progress=lambda done, total, info: seen.append((done, total)),
    )
    assert [clip.category for clip in clips] == [name for name in list(CATEGORIES)[:3] for _ in range(2)]
    assert seen == [(k, 6) for k in range(1, 7)]
    rows = [json.loads(line) for line in (tmp_path / "set/captions.jsonl").read_text().splitlines()]
    assert {row["file_path"] for row in rows} == {
        path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").glob("*/*")
    }
    for row in rows:
        assert row["file_path"].split("/")[0] == row["type"]
        assert row["generator"] == "video2lora sample" and row["licence"] == "CC0-1.0" and row["text"]
    for clip in clips:
        pixels, _, rotation = _decode(clip.path)
        upright = np.rot90(pixels[0], rotation // 90)
        assert upright.shape[:2] == (clip.format.height, clip.format.width)
        assert len(pixels) == clip.format.num_frames


def test_a_second_run_renders_nothing_and_a_larger_one_only_what_is_new(tmp_path, cheap):
    first = write_samples(tmp_path, 2, 1, seed=1, workers=1)
    times = {clip.path: clip.path.stat().st_mtime_ns for clip in first}
    write_samples(tmp_path, 2, 1, seed=1, workers=1)
    larger = write_samples(tmp_path, 2, 2, seed=1, workers=1)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {clip.path for clip in first} < {clip.path for clip in larger}
    assert len((tmp_path / "captions.jsonl").read_text().splitlines()) == 4


def test_two_processes_write_the_same_set_as_one(tmp_path, cheap):
    alone = write_samples(tmp_path / "one", 2, 2, seed=3, workers=1)
    together = write_samples(tmp_path / "two", 2, 2, seed=3, workers=2)
    for one, other in zip(alone, together, strict=True):
        assert all(map(np.array_equal, _decode(one.path)[0], _decode(other.path)[0]))
    assert (tmp_path / "one/captions.jsonl").read_text() == (tmp_path / "two/captions.jsonl").read_text()


def test_a_failed_clip_leaves_no_file(tmp_path):
    chosen = _small(choose_format(0, 0, 0))
    with pytest.raises(PipelineError, match="No effect"):
        encode_clip(tmp_path / "clip.mp4", "no such effect", 1, chosen)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_only_whole_files(tmp_path):
    program = (
        "import sys; from pipeline.samples.write import write_samples\n"
        "if __name__ == '__main__': write_samples(sys.argv[1], 24, 4, seed=2, workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("*/.*")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) != 0
    left = [path for path in tmp_path.glob("*/*") if path.is_file()]
    assert not [path for path in left if path.name.startswith(".")]
    for path in left:
        assert len(_decode(path)[0]) >= MIN_FRAMES


def test_what_an_interrupted_run_leaves_has_its_captions_and_terms(tmp_path, cheap):
    def enough(done, total, info):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path, 2, 1, seed=1, workers=1, progress=enough)
    rows = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")]
    assert sorted(row["file_path"] for row in rows) == sorted(left)
    assert left


def test_bad_requests_are_one_clear_sentence(tmp_path):
    with pytest.raises(PipelineError, match=f"more than the {len(CATEGORIES)} effects"):
        plan_samples(tmp_path, 1000, 1, 0)
    with pytest.raises(PipelineError, match="1 or more"):
        plan_samples(tmp_path, 2, 0, 0)
    with pytest.raises(PipelineError, match="none"):
        plan_samples(tmp_path, 0, 1, 0)
    with pytest.raises(PipelineError, match="Nearest: melt"):
        plan_samples(tmp_path, None, 1, 0, effects=["mellt"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(PipelineError, match="is a file"):
        write_samples(tmp_path / "file", 1, 1)
    (tmp_path / "captions.jsonl").write_text("not ours\n")
    with pytest.raises(PipelineError, match="not written by this command"):
        write_samples(tmp_path, 1, 1)
