import io
import struct

import pytest

from pipeline.video.container import container_of, identify
from pipeline.video.rejection import Rejection
from tests.pipeline.video.video_files import ffmpeg, moving, write


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def movie_with_reference(kind: bytes, flags: int, path: bytes) -> bytes:
    """An MP4 header whose media lie where `path` says."""
    entry = box(kind, struct.pack(">I", flags) + path)
    dref = box(b"dref", struct.pack(">II", 0, 1) + entry)
    minf = box(b"minf", box(b"dinf", dref))
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", box(b"trak", box(b"mdia", minf)))


SCRIPTS = {
    "hls": b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile:///etc/passwd\n",
    "hls after a byte order mark": b"\xef\xbb\xbf#EXTM3U\nhttp://127.0.0.1/x.ts\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "dash": b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 1234 RTP/AVP 96\n",
    "asx": b'<ASX version="3.0"><entry><ref href="http://127.0.0.1/"/></entry></ASX>',
    "reference": b"[Reference]\nRef1=http://127.0.0.1/x\n",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_is_refused_by_content_whatever_its_name(script):
    with pytest.raises(Rejection) as refused:
        identify(io.BytesIO(script))
    assert refused.value.code == "refers_elsewhere"


@pytest.mark.parametrize("kind", [b"url ", b"alis", b"urn "])
def test_a_movie_whose_media_lie_in_another_file_is_refused(kind):
    with pytest.raises(Rejection) as refused:
        identify(io.BytesIO(movie_with_reference(kind, 0, b"file:///etc/passwd\0")))
    assert refused.value.code == "refers_elsewhere"


def test_a_movie_whose_media_lie_in_itself_passes():
    assert identify(io.BytesIO(movie_with_reference(b"url ", 1, b""))) == "mov"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"hello, I am no video\n" * 20, "not_a_video"),
        (bytes(range(256)) * 20, "not_a_video"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (b"RIFF\0\0\0\0WAVEfmt ", "no_video"),
        (b"ID3\4\0" + bytes(100), "no_video"),
    ],
)
def test_what_is_no_video_says_what_it_is(content, code):
    with pytest.raises(Rejection) as refused:
        identify(io.BytesIO(content))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", "mov"),
        ("a.mkv", "libx264", "matroska"),
        ("a.webm", "libvpx-vp9", "matroska"),
        ("a.avi", "mpeg4", "avi"),
        ("a.ts", "mpeg2video", "mpegts"),
        ("a.mpg", "mpeg1video", "mpeg"),
        ("a.flv", "flv", "flv"),
        ("a.wmv", "wmv2", "asf"),
        ("a.ivf", "libvpx-vp9", "ivf"),
        ("a.h264", "libx264", "h264"),
        ("a.y4m", "wrapped_avframe", "yuv4mpegpipe"),
        ("a.mxf", "mpeg2video", "mxf"),
    ],
)
def test_real_containers_are_known_by_their_first_bytes(tmp_path, name, codec, container):
    source = write(tmp_path / "source.mp4", moving(8))
    path = tmp_path / name
    ffmpeg("-i", str(source), "-r", "25", "-c:v", codec, "-pix_fmt", "yuv420p", str(path))
    renamed = path.rename(tmp_path / "misleading.txt")
    with renamed.open("rb") as file:
        assert identify(file) == container


def test_a_cut_off_head_is_no_container():
    assert container_of(b"\x00\x00\x00\x01") is None
    assert container_of(b"\x1a\x45") is None
