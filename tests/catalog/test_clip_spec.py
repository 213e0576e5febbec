"""The clip spec says what a clip can be, and in which words it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.clip_spec import ClipSpec
from catalog.errors import InvalidClipSpec


def test_the_default_is_the_papers_geometry():
    spec = ClipSpec()
    assert spec.spec_id == "49f-8fps-480x720"
    assert spec.duration == 49 / 8


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_frames": 48}, "45 or 49"),
        ({"num_frames": 0}, "at least 1"),
        ({"height": 481}, "480 or 496"),
        ({"height": 8}, "use 16"),
        ({"width": 100}, "96 or 112"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": 7.5}, "whole number"),
        ({"width": True}, "whole number"),
    ],
)
def test_a_geometry_no_clip_can_have_is_refused_with_one_that_it_can(values, says):
    with pytest.raises(InvalidClipSpec, match=says):
        ClipSpec(**values)


@given(st.integers(-3, 200), st.integers(-3, 60), st.integers(-3, 2000), st.integers(-3, 2000))
def test_a_spec_either_survives_json_or_is_refused(frames, fps, height, width):
    fits = frames > 0 and frames % 4 == 1 and fps > 0 and height > 0 < width and not height % 16 + width % 16
    if fits:
        spec = ClipSpec(frames, fps, height, width)
        assert ClipSpec.from_json(spec.to_json()) == spec
    else:
        with pytest.raises(InvalidClipSpec):
            ClipSpec(frames, fps, height, width)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"frames": 3}', '{"num_frames": "49"}'])
def test_text_that_is_no_spec_is_refused(text):
    with pytest.raises(InvalidClipSpec):
        ClipSpec.from_json(text)
