"""The procedural renderer: determinism, geometry, captions, and that each effect does what its group says."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.samples.categories import CATEGORIES, UnknownEffect
from pipeline.samples.effect import GROUPS
from pipeline.samples.effects import EFFECTS
from pipeline.samples.render import clip_times, render_clip
from pipeline.samples.scene import make_scene
from pipeline.samples.subjects import SUBJECTS

HEIGHT, WIDTH, FRAMES = 64, 96, 13


def _clip(effect: str, seed: int = 3) -> np.ndarray:
    return render_clip(effect, seed, FRAMES, HEIGHT, WIDTH)[0].astype(np.int16)


def _border(clip: np.ndarray) -> np.ndarray:
    """Pixels that only the background reaches: the top row's ends and the right edge of the upper half."""
    return np.concatenate(
        [clip[:, :6, :8].reshape(len(clip), -1), clip[:, :6, -8:].reshape(len(clip), -1)], 1
    )


def _names(group: str) -> list[str]:
    return [effect.name for effect in EFFECTS.values() if effect.group == group]


def test_there_are_effects_in_every_group_and_any_first_few_mix_the_groups():
    assert list(CATEGORIES)[: len(EFFECTS)] == list(EFFECTS), "small sets stay what they were"
    assert {effect.group for effect in CATEGORIES.values()} == set(GROUPS)
    assert {effect.group for effect in list(CATEGORIES.values())[:3]} == set(GROUPS)


@pytest.mark.parametrize("effect", ["melt", "explode", "orbit", "glitch", "snow"])
def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(effect):
    assert np.array_equal(_clip(effect), _clip(effect))
    assert not np.array_equal(_clip(effect), _clip(effect, seed=4))


@pytest.mark.parametrize("effect", list(EFFECTS))
def test_a_clip_starts_with_the_plain_scene_and_ends_elsewhere(effect):
    clip = _clip(effect)
    still = np.asarray(make_scene(3).layers(HEIGHT, WIDTH).still(), np.int16)
    assert np.abs(clip[0] - still).mean() < 2.0
    assert max(np.abs(frame - clip[0]).mean() for frame in clip[FRAMES // 2 :]) > 2.5


@pytest.mark.parametrize("effect", [name for name in _names("transformation") if name != "freeze"])
def test_a_transformation_leaves_the_background_alone(effect):
    border = _border(_clip(effect)[[0, -1]])
    if effect != "explode":  # its smoke and splinters may pass
        assert np.abs(border[1] - border[0]).max() <= 8


@pytest.mark.parametrize("effect", _names("camera"))
def test_a_camera_effect_moves_the_background(effect):
    changes = []
    for seed in range(3):
        border = _border(_clip(effect, seed))
        changes.append(np.abs(border - border[0]).mean(axis=1).max())
    assert max(changes) > 4


@pytest.mark.parametrize("effect", ["tint", "sketch", "invert", "monochrome", "glow", "posterise", "thermal"])
def test_a_style_keeps_the_contours_where_they_were(effect):
    def contours(frame: np.ndarray) -> np.ndarray:
        grey = gaussian_filter(frame.mean(-1), 0.8)
        return gaussian_filter(np.hypot(*np.gradient(grey)), 1.5)

    kept = []
    for seed in range(3):
        clip = _clip(effect, seed)
        kept.append(np.corrcoef(contours(clip[0]).ravel(), contours(clip[-1]).ravel())[0, 1])
    assert np.mean(kept) > 0.35


def test_any_two_effects_on_the_same_scene_differ_visibly():
    clips = {name: _clip(name)[2::2].astype(np.float32) for name in EFFECTS}
    names = list(clips)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            assert np.abs(clips[one] - clips[other]).mean() > 0.8, (one, other)


def test_pans_move_the_picture_against_the_camera():
    def shift(effect: str) -> int:
        clip = _clip(effect, seed=0)[:4].astype(np.float32)
        first, later = clip[0].mean(-1), clip[3].mean(-1)
        errors = {s: np.abs(np.roll(first, s, 1) - later)[:, 24:-24].mean() for s in range(-20, 21)}
        return min(errors, key=errors.get)

    assert shift("pan_left") > 0 > shift("pan_right")


def test_two_clips_of_one_effect_differ_in_more_than_the_scene():
    from pipeline.samples.effect import draw_params

    assert draw_params("melt", 1) != draw_params("melt", 2)
    assert draw_params("melt", 1) != draw_params("spin", 1)


@pytest.mark.parametrize("effect", ["zoom_out", "crumble", "pixelate"])
def test_a_small_clip_and_a_large_one_show_the_same(effect):
    small = render_clip(effect, 8, 5, 64, 96)[0].astype(np.float32)
    large = render_clip(effect, 8, 5, 192, 288)[0].astype(np.float32)
    shrunk = large.reshape(5, 64, 3, 96, 3, 3).mean((2, 4))
    for one, other in zip(small, shrunk, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.93


@pytest.mark.parametrize("size", [(97, 55), (240, 101), (64, 64)])
@pytest.mark.parametrize("effect", ["orbit", "zoom_out", "tilt_up", "inflate", "freeze"])
def test_any_aspect_ratio_is_filled_to_its_edges(effect, size):
    clip = render_clip(effect, 2, 4, *size)[0]
    assert clip.shape == (4, *size, 3) and clip.dtype == np.uint8
    edges = [clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]]
    assert all((edge.max(-1) > 12).mean() > 0.9 for edge in edges)


def test_a_roll_shows_no_empty_corners():
    for seed in range(4):
        assert (render_clip("roll", seed, 5, 60, 140)[0].max(-1) > 5).mean() > 0.999


def test_a_caption_names_the_subject_and_scenes_are_varied():
    scenes = [make_scene(seed) for seed in range(300)]
    assert all(scene.subject in scene.caption and scene.colour in scene.caption for scene in scenes)
    assert {scene.subject for scene in scenes} == set(SUBJECTS)
    assert len({scene.caption for scene in scenes}) > 290


def test_uneven_timestamps_show_the_effect_at_those_times():
    assert clip_times(3, (2.0, 2.5, 4.0)).tolist() == [0.0, 0.25, 1.0]
    even, _ = render_clip("spin", 1, 5, 32, 48)
    uneven, _ = render_clip("spin", 1, 3, 32, 48, (0.0, 0.25, 1.0))
    assert np.array_equal(even[[0, 1, 4]], uneven)


def test_bad_requests_are_named():
    with pytest.raises(UnknownEffect, match="melt"):
        render_clip("mellt", 1, 5, 64, 96)
    with pytest.raises(ValueError, match="timestamps"):
        render_clip("melt", 1, 5, 64, 96, (0.0, 1.0))
    with pytest.raises(ValueError, match="aspect"):
        render_clip("melt", 1, 5, 64, 196)
    with pytest.raises(ValueError, match="16"):
        render_clip("melt", 1, 5, 8, 96)
