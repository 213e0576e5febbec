"""The whole catalogue: what it holds, that its categories differ, and that two effects are both there."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.composition import in_manner, in_turn, together
from pipeline.samples.effect import GROUPS, draw_params
from pipeline.samples.effects import EFFECTS
from pipeline.samples.render import render_clip, render_frames
from pipeline.samples.scene import make_scene
from pipeline.samples.sheet import TIMES, contact_sheet

HEIGHT, WIDTH, FRAMES = 64, 96, 13
NEW = [name for name in CATEGORIES if name not in EFFECTS]
# Words of names that say nothing about an effect.
GRAMMAR = {"a", "an", "and", "as", "at", "by", "from", "in", "into", "of", "on", "out", "the", "to"}


def _clip(name: str, seed: int = 3) -> np.ndarray:
    return render_clip(name, seed, FRAMES, HEIGHT, WIDTH)[0].astype(np.int16)


def _frame(effect, t: float, seed: int = 3) -> np.ndarray:
    """One frame of an effect whose parts are to have the same parameters: those of the seed alone."""
    layers = make_scene(seed).layers(HEIGHT, WIDTH, effect.margin)
    return np.asarray(effect.apply(layers, t, draw_params("any", seed)), np.int16)


def test_there_are_two_hundred_categories_of_many_families_and_sixty_are_two_effects():
    families = {effect.family for effect in CATEGORIES.values()} - {""}
    assert len(CATEGORIES) >= 200 and len(families) >= 14
    assert sum(len(effect.parts) > 1 for effect in CATEGORIES.values()) >= 60
    assert {effect.group for effect in CATEGORIES.values()} == set(GROUPS)
    singles = [effect for effect in CATEGORIES.values() if len(effect.parts) == 1]
    assert all(effect.family and effect.value and effect.description for effect in singles)


def test_the_first_effects_show_what_they_showed_when_the_file_beside_this_one_was_written():
    known = np.load(Path(__file__).with_name("first_effects.npz"))
    assert set(known) == set(EFFECTS)
    for seed, name in enumerate(EFFECTS):
        shown = _clip(name, seed)[[0, 6, 12]].reshape(3, 8, 8, 12, 8, 3).mean((2, 4))
        assert np.abs(shown - known[name]).max() <= 1, name


@pytest.mark.parametrize("name", NEW)
def test_a_clip_starts_with_the_plain_scene_and_does_not_stay_there(name):
    clip = _clip(name)
    still = np.asarray(make_scene(3).layers(HEIGHT, WIDTH).still(), np.int16)
    assert np.abs(clip[0] - still).mean() < 1.0
    assert max(np.abs(frame - clip[0]).mean() for frame in clip[FRAMES // 3 :]) > 2.0


def test_any_two_categories_differ_on_the_same_scene():
    names = list(CATEGORIES)
    shown = (np.stack(list(render_frames(name, 3, (0.3, 0.5, 0.75, 1.0), 32, 48))) for name in names)
    clips = np.stack([clip.reshape(4, 16, 2, 24, 2, 3).mean((2, 4)).ravel() for clip in shown])
    for k in range(len(names) - 1):
        apart = np.abs(clips[k + 1 :] - clips[k]).mean(1)
        assert apart.min() > 0.5, (names[k], names[k + 1 + apart.argmin()])


def test_where_rain_and_snow_are_blown_to_is_seen_in_what_moves():
    def slant(name: str, seed: int) -> float:
        """Of the contours that move: 1 along the falling diagonal, -1 along the rising one, 0 upright."""
        shown = np.stack(list(render_frames(name, seed, np.linspace(0, 1, FRAMES), HEIGHT, WIDTH)))
        moved = np.diff(shown.mean(-1), axis=0)[5:]
        down, across = np.gradient(moved, axis=(1, 2))
        return -2 * (across * down).sum() / (across**2 + down**2).sum()

    for seed in range(3):
        assert (
            slant("weather_snow_to_the_left", seed) < -0.3 and slant("weather_snow_to_the_right", seed) > 0.3
        )
        assert (
            slant("weather_rain_to_the_left", seed) < -0.6 and slant("weather_rain_to_the_right", seed) > 0.6
        )
        assert abs(slant("weather_rain", seed)) < 0.15


def test_no_caption_gives_a_category_away():
    words = {word for effect in CATEGORIES.values() for word in (*effect.name.split("_"), *effect.synonyms)}
    forbidden = {word + ending for word in words - GRAMMAR for ending in ("", "s", "ed", "d", "ing", "ly")}
    for seed in range(1500):
        caption = set(re.findall(r"[a-z]+", make_scene(seed).caption.lower()))
        assert not forbidden & caption, (seed, forbidden & caption)


def test_the_second_of_two_effects_at_once_works_on_what_the_first_one_shows():
    zoom, invert = CATEGORIES["zoom_in"], CATEGORIES["invert"]
    both, alone = _frame(together(zoom, invert), 1.0), _frame(zoom, 1.0)
    assert np.abs(both - (255 - alone)).max() <= 1


def test_of_two_effects_in_turn_the_second_begins_when_the_first_has_ended():
    spin, invert = CATEGORIES["spin"], CATEGORIES["invert"]
    turned = in_turn(spin, invert)
    assert np.array_equal(_frame(turned, 0.25), _frame(spin, 0.5))
    assert np.array_equal(_frame(turned, 0.5), _frame(spin, 1.0))
    assert np.abs(_frame(turned, 1.0) - (255 - _frame(spin, 1.0))).max() <= 1


def test_what_an_effect_has_made_of_the_subject_is_what_the_next_one_begins_with():
    inflate, vanish = CATEGORIES["inflate"], CATEGORIES["vanish"]
    blown = _frame(inflate, 1.0)
    assert np.abs(_frame(in_turn(inflate, vanish), 0.52) - blown).mean() < 1.5
    plain = np.asarray(make_scene(3).layers(HEIGHT, WIDTH).plate(), np.int16)
    assert np.abs(_frame(in_turn(inflate, vanish), 1.0) - plain).max() == 0


def test_a_manner_changes_when_and_not_what():
    back = in_manner(CATEGORIES["melt"], "and_back")
    assert np.array_equal(_frame(back, 0.5), _frame(CATEGORIES["melt"], 1.0))
    assert np.array_equal(_frame(back, 0.25), _frame(back, 0.75))
    assert np.array_equal(_frame(back, 1.0), _frame(back, 0.0))


@pytest.mark.parametrize("size", [(97, 55), (240, 101)])
@pytest.mark.parametrize(
    "name",
    ["pan_down_right", "shake_once", "zoom_out_and_inflate", "roll_upside_down", "pan_left_then_zoom_in"],
)
def test_a_camera_never_looks_past_the_edge_of_the_background(name, size):
    clip = render_clip(name, 2, 5, *size)[0]
    edges = [clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]]
    assert all((edge.max(-1) > 12).mean() > 0.97 for edge in edges)


@pytest.mark.parametrize(
    "name", ["turn_to_marble", "tint_cyan", "repeat_two_by_two", "inflate_then_levitate"]
)
def test_a_small_clip_and_a_large_one_show_the_same_category(name):
    small = render_clip(name, 8, 5, 64, 96)[0].astype(np.float32)
    large = render_clip(name, 8, 5, 192, 288)[0].astype(np.float32)
    shrunk = large.reshape(5, 64, 3, 96, 3, 3).mean((2, 4))
    for one, other in zip(small, shrunk, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9


def test_a_fresh_process_renders_the_same_pixels():
    names = (
        "dissolve",
        "ripple",
        "dissolve_from_above",
        "weather_rain",
        "levitate_then_explode",
        "light_disco",
    )
    program = (
        "import hashlib; from pipeline.samples.render import render_clip as r;"
        f"clips = [r(name, 5, 7, 48, 72)[0].tobytes() for name in {names}];"
        "print(hashlib.sha256(b''.join(clips)).hexdigest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = b"".join(render_clip(name, 5, 7, 48, 72)[0].tobytes() for name in names)
    assert elsewhere == hashlib.sha256(here).hexdigest()


def test_a_contact_sheet_shows_the_frames_of_a_clip_under_its_name():
    sheet = np.asarray(contact_sheet(["spin", "melt"], seed=4, columns=1))
    middle = render_clip("melt", 5, len(TIMES), 64, 96)[0][2]
    rows = [k for k in range(sheet.shape[0] - 63) if np.array_equal(sheet[k : k + 64, 201:297], middle)]
    assert len(rows) == 1 and rows[0] > sheet.shape[0] / 2
