import numpy as np
import pytest

from pipeline.curation.policy import BadPolicy, QualityPolicy, judge, load_policy
from pipeline.video.planes import from_rgb, luma
from pipeline.video.quality import Scores, mirrored_hash, perceptual_hashes, thumbnails
from pipeline.video.quality import score as score_luma
from tests.pipeline.video.video_files import moving

H, W = 96, 144


def texture(seed: int = 0) -> np.ndarray:
    """A smooth random picture, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 225, (7, 10, 3))
    rows, columns = np.linspace(0, 5.999, H), np.linspace(0, 8.999, W)
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r)[:, None, None], (columns - c)[None, :, None]
    top = coarse[r][:, c] * (1 - fc) + coarse[r][:, c + 1] * fc
    bottom = coarse[r + 1][:, c] * (1 - fc) + coarse[r + 1][:, c + 1] * fc
    return (top * (1 - fr) + bottom * fr).astype(np.uint8)


def luma_of(frames: np.ndarray) -> np.ndarray:
    return np.stack([luma(from_rgb(picture)) for picture in frames])


def score(frames: np.ndarray) -> Scores:
    return score_luma(luma_of(frames))


def hashes(frames: np.ndarray) -> list[int]:
    return perceptual_hashes(thumbnails(luma_of(frames), 144, 96))


def distance(one: list[int], other: list[int]) -> float:
    return float(np.mean([(a ^ b).bit_count() for a, b in zip(one, other, strict=True)]))


def test_a_still_has_no_motion_and_a_moving_picture_has_some():
    still = np.repeat(texture()[None], 20, axis=0)
    assert score(still).motion == 0
    assert score(moving(20, H, W)).motion > 0.002


def test_a_lasting_change_is_a_cut_but_a_flash_and_a_pan_are_none():
    cut = np.repeat(texture(1)[None], 20, axis=0)
    cut[9:] = texture(2)
    flash = np.repeat(texture(1)[None], 20, axis=0)
    flash[9] = 255
    pan = np.stack([np.roll(texture(1), 14 * k, axis=1) for k in range(20)])
    assert score(cut).cut > 0.8
    assert score(flash).cut < 0.1
    assert score(pan).cut < 0.2


def test_a_strobe_flickers_and_a_fade_does_not():
    levels = np.linspace(1, 0, 20)[:, None, None, None]
    fade = (texture()[None] * levels).astype(np.uint8)
    strobe = np.repeat(texture()[None], 20, axis=0)
    strobe[::2] //= 2
    assert score(fade).flicker < 0.001
    assert score(strobe).flicker > 0.1


def test_bars_are_measured_only_where_every_frame_is_black():
    boxed = moving(12, H, W)
    boxed[:, :12] = boxed[:, -12:] = 0
    assert score(boxed).letterbox == pytest.approx(0.25, abs=0.02)
    boxed[5, 3] = 200
    assert score(boxed).letterbox < 0.2


def test_a_smooth_picture_is_blurrier_than_a_detailed_one():
    noise = np.random.default_rng(0).integers(0, 255, (4, H, W, 3), dtype=np.uint8)
    smooth = np.repeat(texture()[None], 4, axis=0)
    assert score(noise).blur < 0.1 < 0.5 < score(smooth).blur


def test_a_hash_survives_small_changes_and_tells_pictures_apart():
    frames = np.stack([texture(seed) for seed in range(6)])
    noisy = np.clip(frames + np.random.default_rng(1).normal(0, 6, frames.shape), 0, 255).astype(np.uint8)
    small = np.ascontiguousarray(frames[:, ::2, ::2])
    assert distance(hashes(frames), hashes(noisy)) < 6
    assert distance(hashes(frames), hashes(small)) < 6
    assert distance(hashes(frames), hashes(frames[::-1].copy())) > 20


def test_the_hash_of_a_mirrored_picture_is_known_without_mirroring():
    frames = np.stack([texture(seed) for seed in range(4)])
    mirrored = [mirrored_hash(word) for word in hashes(frames)]
    assert distance(hashes(np.ascontiguousarray(frames[:, :, ::-1])), mirrored) < 6


KEPT = {
    "dissolve to black": lambda: (texture()[None] * np.linspace(1, 0, 49)[:, None, None, None]).astype(
        np.uint8
    ),
    "flashes": lambda: np.stack(
        [texture() if k % 6 else np.full((H, W, 3), 255, np.uint8) for k in range(49)]
    ),
    "small effect before a static camera": lambda: moving(49, H, W),
}


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT.keys())
def test_the_defaults_keep_what_effects_look_like(make):
    assert judge(score(make()).columns(), None, QualityPolicy()).status == "accepted"


def test_the_defaults_reject_a_still_and_a_black_clip_with_a_reason():
    still = judge(score(np.repeat(texture()[None], 9, axis=0)).columns(), None, QualityPolicy())
    black = judge(score(np.zeros((9, H, W, 3), np.uint8)).columns(), None, QualityPolicy())
    assert (still.status, still.code) == ("rejected", "motion_low")
    assert still.reason == "Its motion is 0, below 0.0002."
    assert black.status == "rejected"


def test_a_policy_file_sets_bounds_and_a_category_overrides_them(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('[scores]\ncut = {max = 0.5}\n\n[categories."Jump it"]\ncut = {max = 1.0}\n')
    policy = load_policy(path)
    assert judge({"cut": 0.7}, "melt", policy).code == "cut_high"
    assert judge({"cut": 0.7}, "jump", policy).status == "accepted"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[scores]\nbeauty = {min = 1}", "no score is called 'beauty'"),
        ("[scores]\ncut = {max = 0.1, min = 0.5}", "min 0.5 is above max 0.1"),
        ("[thresholds]\n", "thresholds"),
        ("[scores", "is not TOML"),
    ],
)
def test_a_policy_file_with_a_mistake_says_where(tmp_path, text, says):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(BadPolicy, match=says):
        load_policy(path)


def test_a_missing_policy_file_is_one_sentence(tmp_path):
    with pytest.raises(BadPolicy, match="There is no policy file"):
        load_policy(tmp_path / "none.toml")
