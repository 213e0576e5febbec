"""A stranger's picture as a first frame: as a viewer shows it."""

import numpy as np
import pytest
from PIL import Image

from catalog.clip_spec import ClipSpec
from pipeline.errors import BadSource
from pipeline.video import picture
from pipeline.video.picture import read_picture

SPEC = ClipSpec(num_frames=49, fps=8, height=32, width=48)
ORIENTATION = 0x0112


def scene() -> np.ndarray:
    """Red above, blue below, a green right edge: no two turns of it are alike."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :, 0], pixels[32:, :, 2] = 200, 200
    pixels[:, 72:] = (0, 200, 0)
    return pixels


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.abs(found.astype(int) - expected.astype(int)).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_shown_upright(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition whose effect the tag takes back
    image = Image.fromarray(scene())
    if orientation > 1:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    upright = Image.fromarray(scene()).resize((48, 32), Image.Resampling.BICUBIC)
    assert near(read_picture(tmp_path / "photo.jpg", SPEC), np.asarray(upright))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(tmp_path, suffix):
    ramp = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1))
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    row = read_picture(tmp_path / f"deep.{suffix}", SPEC)[16, :, 0].astype(int)
    assert row[0] < 10 and 120 < row[24] < 136 and row[-1] > 245


def test_floating_values_count_from_zero_to_one(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    assert 120 < read_picture(tmp_path / "float.tif", SPEC)[16, 24, 0] < 136


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background_and_not_what_lies_under_it(tmp_path, mode):
    pixels = np.full((64, 96, 4), (90, 10, 90, 0), np.uint8)
    pixels[:, :48] = (40, 40, 40, 255)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize()
    elif mode == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "alpha.png")
    found = read_picture(tmp_path / "alpha.png", SPEC)
    assert found[16, 4].tolist() == [40, 40, 40]
    assert tuple(found[16, 44]) == picture.BACKGROUND


@pytest.mark.parametrize("mode", ["CMYK", "1", "L"])
def test_other_modes_become_colour(tmp_path, mode):
    Image.fromarray(np.full((64, 96, 3), 255, np.uint8)).convert(mode).save(tmp_path / "white.tif")
    assert (read_picture(tmp_path / "white.tif", SPEC) > 250).all()


def test_a_picture_above_the_limit_is_one_sentence_at_any_size(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "MAX_PIXELS", 5000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    for side in (100, 300):  # beyond our limit, and beyond Pillow's, which raises by itself
        Image.new("RGB", (side, side)).save(tmp_path / "big.png")
        with pytest.raises(BadSource, match="at most 5,000"):
            read_picture(tmp_path / "big.png", SPEC)


def test_what_is_no_picture_may_be_a_video_and_a_torn_one_is_a_sentence(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no picture")
    assert read_picture(tmp_path / "clip.mp4", SPEC) is None
    Image.fromarray(scene()).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadSource, match=r"torn\.png"):
        read_picture(tmp_path / "torn.png", SPEC)
