"""Windows of the low-memory strategy."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import BadMethodSettings
from training.methods.lora_edit.windows import windows


def test_the_papers_four_windows_of_49_frames():
    counted_from_one = [(part.start + 1, part.stop) for part in windows(49, 13)]
    assert counted_from_one == [(1, 13), (13, 25), (25, 37), (37, 49)]


@given(st.integers(1, 20), st.integers(1, 20))
def test_windows_cover_every_frame_overlap_and_can_be_folded(k, n):
    count, size = 4 * k + 1, 4 * n + 1
    parts = windows(count, size)
    assert sorted({frame for part in parts for frame in range(count)[part]}) == list(range(count))
    assert all(later.start < part.stop for part, later in pairwise(parts))
    assert all((part.stop - part.start) % 4 == 1 for part in parts)


def test_no_window_is_the_whole_video_and_a_size_that_cannot_be_folded_is_refused():
    assert windows(49, None) == [slice(0, 49)]
    for size in (12, 1):
        with pytest.raises(BadMethodSettings, match=f"edit.window={size}"):
            windows(49, size)
