from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.clip_spec import ClipSpec
from pipeline.video.plan import TooFewFrames, Window, place, plan_fit, plan_frames, plan_keys, plan_window

SPEC = ClipSpec()
gaps = st.lists(st.floats(0.005, 2.0), min_size=1, max_size=200)
start = st.floats(-5, 1000)


def times_of(gaps: list[float], start: float) -> np.ndarray:
    return start + np.concatenate([[0.0], np.cumsum(gaps)])


@settings(deadline=None)
@given(gaps, start)
def test_a_uniform_plan_has_every_frame_of_the_spec_never_runs_backwards_and_spans_the_video(gaps, start):
    times = times_of(gaps, start)
    (plan,) = plan_frames(times, SPEC, "uniform")
    assert len(plan.indices) == SPEC.num_frames
    assert (np.diff(plan.indices) >= 0).all()
    assert plan.indices[0] == 0
    assert plan.indices[-1] == len(times) - 1


@settings(deadline=None)
@given(gaps, start, st.sampled_from(["uniform", "realtime"]))
def test_a_planned_frame_is_the_one_on_the_screen_at_its_time(gaps, start, policy):
    times = times_of(gaps, start)
    try:
        plans = plan_frames(times, SPEC, policy)
    except TooFewFrames:
        return
    for plan in plans:
        targets = np.linspace(plan.start, plan.end, SPEC.num_frames)
        assert (times[plan.indices] <= targets + 2e-3).all()
        following = np.append(times, np.inf)[plan.indices + 1]
        assert (following > targets - 1e-6).all()


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(5, 60))
def test_a_uniform_plan_of_a_constant_rate_repeats_no_frame_when_there_are_enough(count, fps):
    (plan,) = plan_frames(np.arange(count) / fps, SPEC, "uniform")
    distinct = len(np.unique(plan.indices))
    assert distinct == min(count, SPEC.num_frames)


@settings(deadline=None)
@given(st.integers(30, 2000), st.integers(5, 60))
def test_realtime_windows_step_at_the_clip_rate_and_do_not_overlap(count, fps):
    times = np.arange(count) / fps
    try:
        plans = plan_frames(times, SPEC, "realtime")
    except TooFewFrames:
        assert count / fps < SPEC.duration
        return
    for plan in plans:
        assert plan.end - plan.start == pytest.approx((SPEC.num_frames - 1) / SPEC.fps)
    for one, following in pairwise(plans):
        assert following.start - one.start == pytest.approx(SPEC.duration)
    assert len(plans) == max(1, int((count / fps + 1.5e-3) // SPEC.duration))
    assert len({plan.key for plan in plans}) == len(plans)


def test_a_video_shorter_than_a_realtime_window_holds_its_last_frame():
    times = np.arange(40) / 8
    (plan,) = plan_frames(times, SPEC, "realtime")
    assert plan.indices.tolist() == [*range(40), *[39] * 9]


def test_a_video_of_less_than_half_a_window_is_too_short_for_realtime():
    with pytest.raises(TooFewFrames, match=r"lasts 2\.50 s"):
        plan_frames(np.arange(20) / 8, SPEC, "realtime")


def test_a_single_frame_is_no_clip():
    with pytest.raises(TooFewFrames, match="1 frame "):
        plan_frames(np.zeros(1), SPEC)


def test_a_held_frame_of_a_variable_rate_fills_its_time():
    times = np.array([0.0, 0.1, 0.2, 9.8, 9.9, 10.0])
    (plan,) = plan_frames(times, SPEC, "uniform")
    assert (plan.indices == 2).sum() == SPEC.num_frames - 2


sizes = st.integers(2, 4000)
aspects = st.floats(0.2, 5.0)


@settings(deadline=None)
@given(sizes, sizes, aspects)
def test_crop_covers_the_clip_and_keeps_the_shape(width, height, aspect):
    plan = plan_fit(width, height, aspect, SPEC, "crop")
    assert plan.width >= SPEC.width
    assert plan.height >= SPEC.height
    assert SPEC.width == plan.width or SPEC.height == plan.height
    shape = width * aspect / height
    assert plan.width / plan.height == pytest.approx(shape, rel=1 / SPEC.height)


@settings(deadline=None)
@given(sizes, sizes, aspects)
def test_pad_keeps_the_whole_picture_centred(width, height, aspect):
    plan = plan_fit(width, height, aspect, SPEC, "pad")
    assert 1 <= plan.width <= SPEC.width
    assert 1 <= plan.height <= SPEC.height
    # As far as even numbers go, which colour at half the resolution asks for.
    assert all(n % 2 == 0 for n in (plan.width, plan.height, plan.left, plan.top))
    assert abs(2 * plan.left + plan.width - SPEC.width) <= 2
    assert abs(2 * plan.top + plan.height - SPEC.height) <= 2


@settings(deadline=None)
@given(sizes, sizes, aspects, st.sampled_from(["crop", "pad", "stretch"]))
def test_a_placed_picture_has_the_clips_size(width, height, aspect, fit):
    spec = ClipSpec(num_frames=5, fps=8, height=32, width=48)
    plan = plan_fit(min(width, 400), min(height, 400), aspect, spec, fit)
    if plan.width * plan.height > 4_000_000:
        return
    picture = np.full((plan.height, plan.width, 3), 7, dtype=np.uint8)
    placed = place(picture, plan, spec)
    assert placed.shape == (32, 48, 3)
    assert (placed == 7).sum() == 3 * min(plan.width, 48) * min(plan.height, 32)


def test_a_window_in_seconds_or_frames_limits_where_frames_come_from():
    times = np.arange(100) / 10 + 0.5
    for window in ("seconds:2-6", "frames:20-60"):
        (plan,) = plan_window(times, Window.parse(window), SPEC)
        assert (plan.indices[0], plan.indices[-1]) == (20, 60)
        assert plan.key == f"uniform@{window}"
        assert [plan.key] == plan_keys("uniform", 64, window)


@pytest.mark.parametrize("text", ["2-6", "minutes:1-2", "seconds:4-2", "frames:a-b"])
def test_a_window_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"window|convert"):
        Window.parse(text)


def test_a_window_beyond_the_video_is_said():
    with pytest.raises(TooFewFrames, match="lasts 100 frames, and its window is frames 200 to 300"):
        plan_window(np.arange(100) / 10, Window.parse("frames:200-300"), SPEC)
