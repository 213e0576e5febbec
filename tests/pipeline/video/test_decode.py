"""Decoded clips against what the ffmpeg command makes of the same frames."""

import numpy as np
import pytest

from catalog.clip_spec import ClipSpec
from pipeline.video import avread, fastread
from pipeline.video.decode import decode_clip
from pipeline.video.limits import DecodeLimits
from pipeline.video.plan import plan_fit, plan_frames
from pipeline.video.planes import frame_of, luma, to_rgb
from pipeline.video.probe import probe
from pipeline.video.rejection import Rejection
from tests.pipeline.video.video_files import ffmpeg, moving, numbered, psnr, write

SPEC = ClipSpec(num_frames=9, fps=8, height=80, width=128)
H264 = ("-c:v", "libx264", "-crf", "10", "-preset", "ultrafast")
TAGS_709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")

# What is encoded: name of the file, then ffmpeg's arguments.
FILES = {
    "plain": ("a.mp4", *H264, "-pix_fmt", "yuv420p"),
    "bt709": ("a.mp4", "-vf", "scale=out_color_matrix=bt709", *H264, "-pix_fmt", "yuv420p", *TAGS_709),
    "full range": ("a.mp4", "-vf", "scale=out_range=pc", *H264, "-pix_fmt", "yuvj420p"),
    "10 bit": ("a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le"),
    "4:4:4": ("a.mp4", *H264, "-pix_fmt", "yuv444p"),
    "odd size": ("a.mkv", "-vf", "scale=101:75", "-c:v", "ffv1", "-pix_fmt", "yuv420p"),
    "portrait": ("a.mp4", "-vf", "scale=90:160", *H264, "-pix_fmt", "yuv420p"),
    "wide pixels": ("a.mp4", "-vf", "setsar=16/9", *H264, "-pix_fmt", "yuv420p"),
    "interlaced": ("a.mp4", "-vf", "interlace", *H264, "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"),
    "palette": ("a.gif",),
    "motion jpeg": ("a.avi", "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"),
    "vp9": ("a.webm", "-c:v", "libvpx-vp9", "-crf", "10", "-b:v", "0", "-pix_fmt", "yuv420p"),
    "b frames": ("a.mp4", "-c:v", "libx264", "-bf", "3", "-g", "12", "-pix_fmt", "yuv420p"),
    "open groups": (
        "a.mp4",
        "-c:v",
        "libx264",
        "-bf",
        "3",
        "-g",
        "8",
        "-x264-params",
        "open-gop=1:scenecut=0",
    ),
    "mpeg program": ("a.mpg", "-r", "25", "-c:v", "mpeg2video", "-q:v", "2"),
    "transport": ("a.ts", "-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p"),
    "raw stream": ("a.h264", *H264, "-pix_fmt", "yuv420p"),
}
RAW = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
DISPLAY = {
    "turned left": ("-display_rotation", "90"),
    "turned right": ("-display_rotation", "-90"),
    "upside down": ("-display_rotation", "180"),
    "mirrored": ("-display_hflip",),
    "turned and mirrored": ("-display_rotation", "90", "-display_hflip"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every file of `FILES` and `DISPLAY` by name."""
    folder = tmp_path_factory.mktemp("formats")
    made = {}
    for name, (file, *arguments) in FILES.items():
        made[name] = folder / f"{name.replace(' ', '_').replace(':', '')}-{file}"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=24:d=1.5", *arguments, str(made[name]))
    for name, arguments in DISPLAY.items():
        made[name] = folder / f"{name}.mp4"
        ffmpeg(*arguments, "-i", str(made["plain"]), "-c", "copy", str(made[name]))
    return made


def by_ffmpeg(path, indices, plan, before="", spec=SPEC) -> np.ndarray:
    """Frames of a file by the ffmpeg command, upright, scaled and cropped: planes uint8 [n, rows, width]."""
    chosen = "+".join(rf"eq(n\,{index})" for index in indices)
    scale = f"scale={plan.width}:{plan.height}:out_color_matrix=bt601:out_range=tv,format=yuv420p"
    filters = f"{before}select={chosen},{scale},crop={spec.width}:{spec.height}:{plan.left}:{plan.top}"
    where = ("-fps_mode", "passthrough", "-f", "rawvideo", "-")
    data = ffmpeg("-i", str(path), "-vf", filters, *where)
    return np.frombuffer(data, np.uint8).reshape(len(indices), spec.height * 3 // 2, spec.width)


def rgb(clip: np.ndarray) -> np.ndarray:
    return np.stack([to_rgb(frame_of(picture)) for picture in clip])


@pytest.mark.parametrize("name", [*FILES, *DISPLAY])
def test_frames_come_out_as_from_the_ffmpeg_command(made, name):
    with made[name].open("rb") as file:
        facts = probe(file, DecodeLimits())
        (plan,) = plan_frames(facts.timestamps, SPEC)
        clip = decode_clip(file, facts, plan.indices, SPEC, "crop")
    fit = plan_fit(*facts.upright_size, facts.upright_aspect, SPEC, "crop")
    before = "bwdif=mode=send_frame:deint=interlaced," if name == "interlaced" else ""
    reference = by_ffmpeg(made[name], plan.indices, fit, before)
    assert clip.shape == (9, 120, 128)
    for plane in (slice(0, 80), slice(80, 100), slice(100, 120)):
        pairs = zip(clip[:, plane], reference[:, plane], strict=True)
        assert min(psnr(ours, theirs) for ours, theirs in pairs) > 40


@pytest.mark.parametrize("name", [*FILES, *DISPLAY])
def test_what_is_stored_looks_like_what_the_ffmpeg_command_shows(made, name):
    """Against RGB straight from the source, at a size where 4:2:0 costs little: no colour is off."""
    small = ClipSpec(num_frames=9, fps=8, height=48, width=64)
    with made[name].open("rb") as file:
        facts = probe(file, DecodeLimits())
        (plan,) = plan_frames(facts.timestamps, small)
        clip = rgb(decode_clip(file, facts, plan.indices, small, "stretch"))
    before = "bwdif=mode=send_frame:deint=interlaced," if name == "interlaced" else ""
    chosen = "+".join(rf"eq(n\,{index})" for index in plan.indices)
    filters = f"{before}select={chosen},scale=64:48,format=rgb24"
    where = ("-fps_mode", "passthrough", "-f", "rawvideo", "-")
    data = ffmpeg("-i", str(made[name]), "-vf", filters, *where)
    theirs = np.frombuffer(data, np.uint8).reshape(9, 48, 64, 3)
    # Of blocks of 8 x 8, so that the finer grain of RGB's colour does not count.
    ours, theirs = (x.reshape(9, 6, 8, 8, 8, 3).mean(axis=(2, 4)) for x in (clip, theirs))
    assert min(psnr(one, other) for one, other in zip(ours, theirs, strict=True)) > 30


@pytest.mark.parametrize("name", ["plain", "bt709", "wide pixels", "vp9", "b frames"])
def test_both_readers_give_the_same_frames_of_an_ordinary_file(made, name):
    with made[name].open("rb") as file:
        facts = probe(file, DecodeLimits())
        assert fastread.is_ordinary(facts)
        chosen = [0, 5, 17, 35]
        fast, sure = (
            decode_clip(file, facts, chosen, SPEC, "crop", reader=reader) for reader in ("decord", "pyav")
        )
    # Colour goes through RGB at full resolution on one of the two ways.
    assert min(psnr(luma(one), luma(other)) for one, other in zip(fast, sure, strict=True)) > 40
    assert min(psnr(one, other) for one, other in zip(fast, sure, strict=True)) > 30


@pytest.mark.parametrize(
    "name", ["interlaced", "10 bit", "full range", "mirrored", "open groups", "raw stream"]
)
def test_what_decord_gets_wrong_is_not_given_to_it(made, name):
    with made[name].open("rb") as file:
        assert not fastread.is_ordinary(probe(file, DecodeLimits()))


def test_frames_of_a_variable_rate_are_chosen_by_their_time(tmp_path):
    times = np.concatenate([np.arange(10) * 0.02, 0.2 + np.arange(30) * 0.1])
    path = write(tmp_path / "vfr.mp4", numbered(40), times=times)
    with path.open("rb") as file:
        facts = probe(file, DecodeLimits())
        assert facts.timestamps == pytest.approx(times, abs=2e-3)
        (plan,) = plan_frames(facts.timestamps, SPEC)
        clip = decode_clip(file, facts, plan.indices, SPEC, "stretch")
    shown = np.searchsorted(times, np.linspace(0, times[-1], 9) + 1e-3, side="right") - 1
    assert rgb(clip).mean(axis=(1, 2, 3)) == pytest.approx(4.0 * shown, abs=2)


def test_a_long_clip_is_read_by_jumping_to_key_frames(tmp_path):
    frames = numbered(60, 32, 48)
    path = write(tmp_path / "slow.mkv", frames, fps=1, options={"crf": "8", "g": "5", "bf": "0"})
    with path.open("rb") as file:
        facts = probe(file, DecodeLimits())
        plan = plan_fit(*facts.upright_size, 1.0, SPEC, "stretch")
        wanted = np.array([20, 21, 47])
        found, _ = avread.read_frames(file, facts, wanted, plan, SPEC)
    assert [to_rgb(frame_of(found[index])).mean() for index in wanted.tolist()] == pytest.approx(
        [80, 84, 188], abs=2
    )


def test_transparent_pixels_become_black(tmp_path):
    path = tmp_path / "a.webm"
    alpha = r"format=yuva420p,geq=lum=200:cb=128:cr=128:a=if(gt(X\,79)\,255\,0)"
    source = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=24:d=1")
    ffmpeg(*source, "-vf", alpha, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", str(path))
    with path.open("rb") as file:
        facts = probe(file, DecodeLimits())
        clip = rgb(decode_clip(file, facts, [0, 5], SPEC, "stretch"))
    assert clip[:, :, :60].max() < 20
    assert clip[:, :, 68:].min() > 180


def ramp(path, transfer: str):
    """A 10-bit video of 256 columns, dark to bright, that says its values are `transfer`'s."""
    said = f"setparams=range=tv:color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    picture = f"geq=lum='64+X*876/255':cb=512:cr=512,{said}"
    tags = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
    source = ("-f", "lavfi", "-i", "nullsrc=s=256x64:r=8:d=1,format=yuv420p10le")
    ffmpeg(*source, "-vf", picture, "-c:v", "libx265", "-x265-params", "log-level=error", *tags, str(path))
    spec = ClipSpec(num_frames=5, fps=8, height=64, width=256)
    with path.open("rb") as file:
        facts = probe(file, DecodeLimits())
        return luma(decode_clip(file, facts, [0], spec, "stretch"))[0].mean(axis=0)


@pytest.mark.parametrize(("transfer", "white"), [("smpte2084", 0.58), ("arib-std-b67", 0.75)])
def test_a_high_dynamic_range_is_bent_into_the_standard_one_as_ffmpeg_does(tmp_path, transfer, white):
    levels = ramp(tmp_path / "hdr.mp4", transfer)
    bent = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0"
    filters = f"{bent},zscale=t=bt709:m=bt709:r=tv,format=yuv444p,format=gray,select=eq(n\\,0)"
    where = ("-fps_mode", "passthrough", "-f", "rawvideo", "-")
    data = ffmpeg("-i", str(tmp_path / "hdr.mp4"), "-vf", filters, *where)
    theirs = np.frombuffer(data, np.uint8).reshape(64, 256).mean(axis=0)
    assert np.abs((levels - 16) * 255 / 219 - theirs).mean() < 4
    assert np.diff(levels).min() > -1.5
    # What is brighter than reference white keeps its differences: clouds in a sky.
    assert levels[-1] - levels[round(255 * white)] > 25
    assert levels[-1] <= 236
    # The same values without that label are shown as they are.
    plain = ramp(tmp_path / "sdr.mp4", "bt709")
    assert plain[round(255 * white)] == pytest.approx(16 + 219 * white, abs=3)


def test_padding_is_black_and_the_picture_keeps_its_shape(tmp_path):
    path = write(tmp_path / "tall.mp4", np.full((12, 128, 64, 3), 200, np.uint8))
    with path.open("rb") as file:
        clip = rgb(decode_clip(file, probe(file, DecodeLimits()), [0], SPEC, "pad"))
    assert clip[0, :, :43].max() == 0
    assert clip[0, :, 46:82].min() > 190
    assert clip[0, :, 86:].max() == 0


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_pixels": 96 * 72 - 1}, "too_many_pixels"),
        ({"max_frames": 29}, "too_long"),
        ({"max_seconds": 2.0}, "too_long"),
        ({"max_bytes": 100}, "too_large"),
    ],
)
def test_a_file_over_a_limit_is_refused_before_it_is_decoded(tmp_path, limits, code):
    path = write(tmp_path / "a.mp4", moving(30))
    with path.open("rb") as file, pytest.raises(Rejection) as refused:
        probe(file, DecodeLimits(**limits))
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["a.mp4", "front.mp4", "a.mkv", "a.webm"])
def test_a_truncated_video_says_so_or_that_it_is_damaged(tmp_path, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = write(tmp_path / name, moving(60), codec=codec)
    if name == "front.mp4":
        ffmpeg("-i", str(path), "-c", "copy", "-movflags", "+faststart", str(tmp_path / "f.mp4"))
        path = tmp_path / "f.mp4"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with path.open("rb") as file, pytest.raises(Rejection) as refused:
        probe(file, DecodeLimits())
    assert refused.value.code in {"truncated", "damaged"}


def test_a_file_with_sound_only_has_no_video(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", str(tmp_path / "a.mp4"))
    with (tmp_path / "a.mp4").open("rb") as file, pytest.raises(Rejection, match="no video in it"):
        probe(file, DecodeLimits())
