import io

import numpy as np
import pytest

from catalog.clip_spec import ClipSpec
from pipeline.video.normalise import NormaliseSettings, normalise
from pipeline.video.plan import Bars, place, plan_fit
from pipeline.video.quality import steady_bars
from pipeline.video.transcode import read_clip
from tests.pipeline.video.video_files import moving, psnr, write

SPEC = ClipSpec(num_frames=9, fps=8, height=96, width=144)


def barred(picture: np.ndarray, up: int = 0, side: int = 0) -> np.ndarray:
    return np.pad(picture, ((0, 0), (up, up), (side, side), (0, 0)))


def made(path, **how) -> np.ndarray:
    found = normalise(io.BytesIO(path.read_bytes()), SPEC, NormaliseSettings(**how))
    return read_clip(found.clips[0].video)


@pytest.mark.parametrize(
    ("fit", "up", "side"),
    [("crop", 22, 0), ("crop", 0, 33), ("stretch", 22, 0), ("stretch", 0, 33), ("pad", 22, 33)],
)
def test_bars_are_cut_and_what_is_within_fills_the_clip_as_without_them(tmp_path, fit, up, side):
    frames = moving(24, 144 - 2 * up, 216 - 2 * side)
    plain = write(tmp_path / "plain.mp4", frames)
    bars = write(tmp_path / "bars.mp4", barred(frames, up, side))
    cut = made(bars, letterbox="crop", fit=fit)
    # With `pad` the picture may lie a pixel beside the middle: colour has half the resolution.
    assert psnr(cut, made(plain, fit=fit)) > (21 if fit == "pad" else 24)
    assert psnr(made(bars, fit=fit), made(plain, fit=fit)) < 20
    # No row or column of the bars is left.
    assert cut.max(axis=(0, 3))[0].max() > 40
    assert cut.max(axis=(0, 3))[:, -1].max() > 40


def test_a_video_without_bars_is_the_same_whether_or_not_they_are_cut(tmp_path):
    path = write(tmp_path / "a.mp4", moving(24, 144, 216) // 2 + 60)
    assert np.array_equal(made(path, letterbox="crop"), made(path))


def test_a_dark_edge_on_one_side_is_no_bar():
    luma = np.ones((3, 96, 144), dtype=np.float32)
    luma[:, :20] = 0
    assert steady_bars(luma) == Bars()
    luma[:, -21:] = 0
    top, bottom, left, right = steady_bars(luma)
    assert (top, bottom, left, right) == (21 / 96, 22 / 96, 0, 0)


def test_with_pad_the_inside_is_centred_and_the_rest_is_black():
    bars = Bars(0.25, 0.25, 0.0, 0.0)
    plan = plan_fit(100, 400, 1.0, SPEC, "pad", bars)
    picture = np.full((plan.height, plan.width, 3), 200, dtype=np.uint8)
    window = place(picture, plan, SPEC)
    shown = np.flatnonzero(window[48, :, 0])
    assert window[:, 72].min() == 200
    assert (shown[0] + shown[-1]) / 2 == pytest.approx(71.5, abs=1)
