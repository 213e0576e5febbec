import io
import subprocess

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.video.transcode import encode_poster, encode_video, read_clip, write_video
from tests.pipeline.video.video_files import FFMPEG, moving, psnr


def test_a_stored_clip_has_its_frames_rate_size_and_plays_in_a_browser(tmp_path):
    path = write_video(moving(49, 64, 96), 8, tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, 8)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        times = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
    assert times == pytest.approx([k / 8 for k in range(49)])
    data = path.read_bytes()
    assert data.index(b"ftyp") < data.index(b"moov") < data.index(b"mdat")


def test_a_clip_reads_back_as_it_was_written():
    frames = moving(17, 96, 144)
    back = read_clip(encode_video(frames, 8))
    assert back.shape == frames.shape
    assert back.dtype == np.uint8
    assert psnr(frames, back) > 30


def test_flat_colours_survive_within_rounding():
    colours = np.array([[250, 20, 20], [20, 240, 30], [30, 40, 235], [255, 255, 255], [0, 0, 0]], np.uint8)
    frames = np.repeat(np.repeat(colours[:, None, None], 64, axis=1), 96, axis=2)
    back = read_clip(encode_video(frames, 8, crf=1))
    assert np.abs(back.astype(int) - frames).max() <= 5


def test_other_players_see_the_same_colours(tmp_path):
    path = write_video(moving(9, 64, 96), 8, tmp_path / "a.mp4")
    command = [FFMPEG, "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    theirs = np.frombuffer(subprocess.run(command, capture_output=True).stdout, np.uint8).reshape(
        9, 64, 96, 3
    )
    assert psnr(read_clip(path.read_bytes()), theirs) > 40


def test_the_same_frames_always_give_the_same_bytes():
    clips = [moving(49, 64, 96, seed) for seed in range(3)]
    first = [encode_video(frames, 8) for frames in clips]
    for _ in range(3):
        assert [encode_video(iter(frames), 8) for frames in clips] == first


def test_an_odd_size_is_refused_with_the_reason():
    with pytest.raises(PipelineError, match="97x64 cannot be"):
        encode_video(moving(3, 64, 97), 8)


def test_a_poster_is_a_jpeg_of_the_frame():
    frame = moving(1, 64, 96)[0]
    picture = Image.open(io.BytesIO(encode_poster(frame)))
    assert (picture.format, picture.size) == ("JPEG", (96, 64))
    assert psnr(np.asarray(picture), frame) > 25
