"""What an edit may change: each way of saying it, boxes and folds as the released tool makes them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.errors import BadMask
from training.methods.lora_edit import masks

N, H, W = 9, 32, 48


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 180, (H, W, 3)).astype(np.uint8)


def test_a_box_a_painting_a_video_and_a_difference_say_the_same(picture):
    box = masks.of_box((10, 8, 20, 12), H, W, N)
    assert box.shape == (N, H, W) and box[:, 8:20, 10:30].all() and box.sum() == N * 20 * 12
    painted = np.where(box[0][..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    assert np.array_equal(masks.of_picture(painted, N), box)
    assert np.array_equal(masks.of_video(np.stack([painted] * N)), box)
    edited = np.where(box[0][..., None], 255 - picture // 2, picture).astype(np.uint8)
    difference = masks.of_difference(picture, edited, N)
    # The smoothing that noise asks for moves an edge by a pixel or two.
    assert (
        difference[:, 8:20, 10:30].all() and not difference[:, :5].any() and not difference[:, :, 34:].any()
    )


def test_noise_of_a_codec_is_no_difference(picture):
    noisy = (picture.astype(int) + np.random.default_rng(1).integers(-9, 10, picture.shape)).clip(0, 255)
    with pytest.raises(BadMask, match="does not differ"):
        masks.of_difference(picture, noisy.astype(np.uint8), N)


def test_regions_become_bounding_boxes_grown_by_a_tenth_and_small_ones_are_left_out():
    changed = np.zeros((2, 100, 200), dtype=bool)
    changed[0, 20:60, 50:70] = True
    changed[0, 30:40, 50:110] = True  # an L: its box is 60 × 40
    changed[0, 90:97, 10:17] = True  # 49 pixels
    changed[1, 0:20, 180:200] = True  # at a corner
    found = masks.boxed(changed)
    expected = np.zeros_like(changed)
    expected[0, 18:62, 47:113] = True  # 6 more wide, 4 more tall, half of it before
    expected[1, 0:22, 179:200] = True
    assert np.array_equal(found, expected)
    changed[0, 90:98, 10:17] = True  # 56 pixels
    assert masks.boxed(changed)[0, 92, 12]


@given(st.integers(0, 2**32 - 1))
def test_boxes_never_leave_out_what_they_are_of(seed):
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, 30), rng.integers(0, 20)
    wide, tall = rng.integers(8, 18), rng.integers(8, 12)
    changed = masks.of_box((left, top, wide, tall), H, W, 1)
    found = masks.boxed(changed)
    assert (found >= changed).all()
    assert found.sum() <= (wide + 1.1 * 2) * (tall + 1.1 * 2)


def test_of_the_first_frame_all_is_preserved_and_what_may_change_is_grey(picture):
    changed = masks.of_box((10, 8, 20, 12), H, W, N)
    kept = masks.preserved(changed)
    assert kept[0].all() and not kept[1:, 8:20, 10:30].any() and (kept[1:] == ~changed[1:]).all()
    shown = masks.greyed(np.stack([picture] * N), kept)
    assert np.array_equal(shown[0], picture)
    assert (shown[1:, 8:20, 10:30] == masks.GREY).all()
    assert np.array_equal(shown[3][kept[3]], picture[kept[3]])


def test_a_mask_is_folded_as_the_released_tool_folds_it():
    first = masks.case("first frame", np.ones((N, H, W), dtype=bool))
    folded = masks.folded(first, H // 8, W // 8)
    assert folded.shape == (3, 4, 4, 6) and (folded[0] == 1).all() and (folded[1:] == 0).all()
    changed = np.random.default_rng(2).random((N, H, W)) < 0.5
    kept = masks.preserved(changed)
    black = torch.from_numpy(np.where(kept, -1.0, 1.0)).float()[None]  # their video: black is preserved
    small = torch.nn.functional.interpolate(black, size=(4, 6), mode="nearest")
    theirs = (((small + 1) / 2) < 0.5).float()
    theirs = torch.cat([theirs[:, :1].repeat_interleave(4, dim=1), theirs[:, 1:]], dim=1)
    theirs = theirs.view(1, 3, 4, 4, 6).transpose(1, 2)  # [B, 4, T', h, w]
    assert torch.equal(masks.folded(kept, 4, 6)[None].transpose(1, 2), theirs)


def test_the_papers_four_cases_differ_in_what_stays():
    changed = masks.of_box((10, 8, 20, 12), H, W, N)
    kept = {name: masks.case(name, changed) for name in masks.CASES}
    assert all(each[0].all() for each in kept.values())
    assert not kept["first frame"][1:].any() and kept["everything"].all()
    assert np.array_equal(kept["background"], masks.preserved(changed))
    assert np.array_equal(kept["foreground"][1:], changed[1:])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (np.zeros((N, H, W), dtype=bool), "empty"),
        (np.ones((N, H, W), dtype=bool), "full"),
        (np.zeros((N - 4, H, W), dtype=bool), "5 frames and the video 9"),
        (np.zeros((N, W, H), dtype=bool), "32×48 and the video 48×32"),
    ],
)
def test_a_mask_that_says_nothing_about_the_video_is_one_sentence(changed, says):
    with pytest.raises(BadMask, match=says):
        masks.require_sense(changed, N, H, W)


def test_a_mask_of_the_other_polarity_is_noticed_by_what_the_edit_changed():
    changed = masks.of_box((10, 8, 20, 12), H, W, N)
    masks.require_polarity(changed, changed[0])
    masks.require_polarity(changed, np.zeros((H, W), dtype=bool))
    with pytest.raises(BadMask, match=r"100% .* --invert-mask"):
        masks.require_polarity(~changed, changed[0])
    # A mask that names half of what was edited is a person's choice.
    masks.require_polarity(masks.of_box((10, 8, 10, 12), H, W, N), changed[0])


def test_a_box_outside_and_a_length_that_cannot_be_folded_are_refused():
    with pytest.raises(BadMask, match="outside the picture of 48×32"):
        masks.of_box((50, 0, 10, 10), H, W, N)
    with pytest.raises(BadMask, match="4k"):
        masks.folded(np.ones((8, H, W), dtype=bool), 4, 6)


def test_what_is_preserved_is_put_back_to_the_pixel_and_the_edge_lies_inside_what_was_made():
    rng = np.random.default_rng(0)
    made, shown = (rng.integers(0, 256, (3, 100, 60, 3), dtype=np.uint8) for _ in range(2))
    changed = np.zeros((3, 100, 60), dtype=bool)
    changed[:, 20:70, 10:50] = True
    kept = masks.preserved(changed)
    back = masks.put_back(made, shown, kept)
    assert np.array_equal(back[kept], shown[kept])
    # EDGE of 100 rows are two: from there on all is as it was made.
    assert np.array_equal(back[1:, 22:68, 12:48], made[1:, 22:68, 12:48])
    ring = changed.copy()
    ring[:, 22:68, 12:48] = False
    assert not np.array_equal(back[1:][ring[1:]], made[1:][ring[1:]])
    assert masks.psnr(back, shown, kept) is None and masks.psnr(made, shown, kept) < 10
    assert masks.psnr(made, shown, np.zeros_like(kept)) is None
    lighter = np.clip(shown, 0, 245) + np.uint8(10)
    assert masks.psnr(lighter, np.clip(shown, 0, 245), kept) == pytest.approx(28.13, abs=0.01)
    frames, where = masks.sized(shown, kept, 50, 30)
    assert frames.shape == (3, 50, 30, 3) and where.mean() == pytest.approx(kept.mean(), abs=0.02)
