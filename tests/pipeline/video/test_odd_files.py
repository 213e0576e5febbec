"""Good videos that look broken, and broken ones that look good."""

import io
import random
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from catalog.clip_spec import ClipSpec
from pipeline.curation.policy import QualityPolicy, judge
from pipeline.video.container import identify
from pipeline.video.decode import decode_clip, decode_judged
from pipeline.video.limits import DecodeLimits
from pipeline.video.normalise import NormaliseSettings, normalise
from pipeline.video.plan import plan_frames
from pipeline.video.planes import luma
from pipeline.video.probe import probe
from pipeline.video.rejection import Rejection
from tests.pipeline.video.field_coded import field_coded
from tests.pipeline.video.video_files import ffmpeg, moving, numbered, write

SPEC = ClipSpec(num_frames=9, fps=8, height=64, width=96)
EVERY = ClipSpec(num_frames=49, fps=8, height=64, width=96)


def shown(path, spec=SPEC):
    """What a file says, and the mean grey (0-255) of each frame of its clip."""
    with path.open("rb") as file:
        facts = probe(file, DecodeLimits())
        (plan,) = plan_frames(facts.timestamps, spec)
        clip = luma(decode_clip(file, facts, plan.indices, spec, "stretch"))
    return facts, (clip.mean(axis=(1, 2)) - 16) * 255 / 219


def refusal(path) -> Rejection:
    with path.open("rb") as file, pytest.raises(Rejection) as refused:
        normalise(file, SPEC, NormaliseSettings())
    return refused.value


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
def test_the_two_fields_of_a_frame_count_once(tmp_path, name):
    path = field_coded(tmp_path / name, [16 + 4 * number for number in range(48)])
    facts, greys = shown(path)
    assert facts.interlaced
    assert len(facts.timestamps) == 48
    assert facts.duration == pytest.approx(48 / 25, abs=0.01)
    steps = 4 * np.linspace(0, 47, 9).astype(int) * 255 / 219
    assert greys == pytest.approx(steps, abs=3)


def test_an_avi_that_holds_frames_with_empty_chunks_is_whole(tmp_path):
    write(tmp_path / "a.mp4", numbered(48), fps=24)
    path = tmp_path / "held.avi"
    kept = r"select=lt(n\,12)+not(mod(n\,4))"
    ffmpeg("-i", str(tmp_path / "a.mp4"), "-vf", kept, "-fps_mode", "passthrough", "-c:v", "mjpeg", str(path))
    facts, greys = shown(path)
    assert facts.duration == pytest.approx(45 / 24, abs=0.2)
    assert greys[-1] == pytest.approx(4 * 44, abs=6)
    assert (np.diff(greys) > 0).all()


@pytest.mark.parametrize(
    "name", ["cinepak.avi", "msvideo1.avi", "zmbv.avi", "msmpeg4v2.avi", "svq1.mov", "smc.mov", "flv1.flv"]
)
def test_codecs_of_the_nineties_are_read(tmp_path, name):
    write(tmp_path / "a.mp4", moving(30))
    codec = name.partition(".")[0]
    ffmpeg("-i", str(tmp_path / "a.mp4"), "-c:v", codec, str(tmp_path / name))
    facts, _ = shown(tmp_path / name)
    assert (facts.codec, len(facts.timestamps)) == (codec, 30)


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        (b"IV31", "undecodable", "Not one frame of its indeo3 video can be decoded."),
        (b"IV50", "undecodable", "Not one frame of its indeo5 video can be decoded."),
        (b"ZZZZ", "unknown_codec", "Its video is of a kind that no decoder here knows."),
    ],
)
def test_a_codec_that_cannot_be_decoded_is_a_reason(tmp_path, kind, code, says):
    write(tmp_path / "a.mp4", moving(30))
    path = tmp_path / "a.avi"
    ffmpeg("-i", str(tmp_path / "a.mp4"), "-c:v", "mjpeg", str(path))
    path.write_bytes(path.read_bytes().replace(b"MJPG", kind).replace(b"mjpg", kind))
    refused = refusal(path)
    assert (refused.code, refused.reason) == (code, says)


def test_a_movie_whose_edit_list_leaves_out_its_end_is_whole(tmp_path):
    path = write(tmp_path / "a.mp4", numbered(60), fps=12, options={"crf": "12", "bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    (lasts,) = struct.unpack_from(">I", data, at + 12)
    struct.pack_into(">I", data, at + 12, lasts * 2 // 5)
    path.write_bytes(data)
    facts, greys = shown(path)
    assert (len(facts.timestamps), facts.duration) == (24, pytest.approx(2, abs=0.01))
    assert greys[-1] == pytest.approx(4 * 23, abs=4)


def test_a_movie_that_lacks_bytes_is_cut_short(tmp_path):
    write(tmp_path / "a.mp4", moving(60))
    ffmpeg("-i", str(tmp_path / "a.mp4"), "-c", "copy", "-movflags", "+faststart", str(tmp_path / "f.mp4"))
    data = (tmp_path / "f.mp4").read_bytes()
    (tmp_path / "f.mp4").write_bytes(data[: len(data) * 3 // 4])
    assert refusal(tmp_path / "f.mp4").code == "truncated"


def test_packets_without_a_picture_repeat_the_frame_before(tmp_path):
    """MPEG-4 in AVI says "nothing has changed" by a picture that is not coded."""
    path = write(tmp_path / "a.avi", numbered(48), fps=12, codec="mpeg4", options={"q": "2", "g": "48"})
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data) - 8) if data[at : at + 4] == b"\0\0\1\xb6"]
    assert len(starts) == 48
    # In a picture's head: two bits for its kind, seconds as ones and a zero, a mark, four bits of time, a
    # mark, and whether it is coded.
    for at in starts[20:40]:
        bits = f"{int.from_bytes(data[at + 4 : at + 8], 'big'):032b}"
        place = bits.index("0", 2) + 7
        coded = int(bits[:place] + "0" + bits[place + 1 :], 2)
        assert bits[place] == "1"
        data[at + 4 : at + 8] = coded.to_bytes(4, "big")
    path.write_bytes(data)
    facts, greys = shown(path, EVERY)
    assert len(facts.timestamps) == 48
    assert greys[20:38] == pytest.approx(np.full(18, greys[20]), abs=1)
    assert greys[45] > greys[38]


def test_a_matroska_in_which_some_times_are_repeated_keeps_the_others(tmp_path):
    times = [number / 10 for number in range(70)]
    times[9::10] = times[8::10]
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(numbered(70) // 4 * 3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = round(times[number] * 1000)
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    facts, _ = shown(path)
    assert len(facts.timestamps) == 63
    assert facts.duration == pytest.approx(6.9, abs=0.2)


def test_joined_files_whose_times_begin_again_are_read_to_their_end(tmp_path):
    path = tmp_path / "joined.ts"
    for size in ("64x48", "96x64"):
        part = tmp_path / f"{size}.ts"
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=24:d=1", "-c:v", "mpeg2video", str(part))
        with path.open("ab") as file:
            file.write(part.read_bytes())
    facts, _ = shown(path)
    assert facts.duration == pytest.approx(2, abs=0.1)


def test_jpeg_2000_in_its_own_order_of_boxes_is_read(tmp_path):
    write(tmp_path / "a.mp4", moving(24))
    flags = "+frag_keyframe+empty_moov+default_base_moof"
    arguments = ("-c:v", "jpeg2000", "-movflags", flags, "-brand", "mjp2", "-f", "mp4")
    # The muxer of MP4 knows no JPEG 2000 by that name; that of QuickTime does.
    arguments = (*arguments[:4], "-f", "mov")
    ffmpeg("-i", str(tmp_path / "a.mp4"), *arguments, str(tmp_path / "a.mov"))
    data = (tmp_path / "a.mov").read_bytes()
    signature = struct.pack(">I", 12) + b"jP  \r\n\x87\n"
    path = tmp_path / "a.mj2"
    path.write_bytes(signature + data.replace(b"ftypqt  ", b"ftypmjp2", 1))
    facts, _ = shown(path)
    assert (facts.codec, len(facts.timestamps)) == ("jpeg2000", 24)
    still = signature + struct.pack(">I", 20) + b"ftypjp2 \0\0\0\0jp2 "
    with pytest.raises(Rejection) as refused:
        identify(io.BytesIO(still))
    assert refused.value.code == "picture"


def test_frames_that_the_decoder_had_to_invent_are_counted_and_judged(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    frames = np.stack([np.roll(noise, 3 * number, axis=1) for number in range(60)])
    path = write(tmp_path / "a.mp4", frames, options={"g": "30", "crf": "20"})
    whole, draw = path.read_bytes(), random.Random(0)

    def errors(flips: int) -> float:
        data = bytearray(whole)
        for _ in range(flips):
            data[draw.randrange(len(data) // 8, len(data) * 7 // 8)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with path.open("rb") as file:
            facts = probe(file, DecodeLimits())
            (plan,) = plan_frames(facts.timestamps, EVERY)
            return decode_judged(file, facts, plan.indices, EVERY, "crop")[1]

    assert errors(0) == 0
    broken = errors(60)
    assert broken > 0.2
    scores = {"motion": 0.1, "brightness": 0.5, "errors": broken}
    assert judge(scores, None, QualityPolicy()).code == "errors_high"


def test_reasons_are_sentences_of_this_program(tmp_path):
    put = {
        "lfs.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "torn.mp4": write(tmp_path / "t.mp4", moving(12)).read_bytes()[:-200],
        "noise.avi": b"RIFF\xff\xff\0\0AVI " + bytes(range(256)) * 8,
        "sound.mp4": b"ID3" + bytes(64),
    }
    said = {}
    for name, data in put.items():
        (tmp_path / name).write_bytes(data)
        said[name] = refusal(tmp_path / name)
    assert said["lfs.mp4"].code == "not_downloaded"
    assert "git lfs pull" in said["lfs.mp4"].reason
    for rejection in said.values():
        assert rejection.reason.endswith(".")
        assert not any(word in rejection.reason.lower() for word in ("ffmpeg", "patch", "errno", "av."))


def test_times_that_are_years_apart_are_damage(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        for number, picture in enumerate(numbered(12)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
            frame.pts = number
            for packet in stream.encode(frame):
                packet.pts = packet.dts = number if number < 11 else 25 * 86400 * 4000
                container.mux(packet)
    found = refusal(path)
    assert (found.code, "years apart" in found.reason) == ("damaged", True)
