"""What is measured on pixels: order and direction are seen, stillness is nothing, the same clip the same."""

from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline.embedding import directions
from pipeline.embedding.change import BLOCKS, observe
from pipeline.embedding.directions import DirectionsMissing, shipped
from pipeline.pocket.clip_renders import look
from pipeline.pocket.directions import ship_directions

SCENE = 900_000_000


@contextmanager
def silent(_name: str):
    yield lambda done, total, facts: None


def pixels(*clips: np.ndarray) -> np.ndarray:
    """The part of their descriptors that is measured, [n, 192]."""
    seen = [observe(clip) for clip in clips]
    return shipped().of({name: np.stack([each[name] for each in seen]) for name in BLOCKS})


@pytest.mark.parametrize("frames", [1, 2, 8, 49])
def test_clips_of_any_number_of_frames_and_any_shape_have_the_same_blocks(frames):
    noise = np.random.default_rng(0).integers(0, 255, (frames, 40, 90, 3), dtype=np.uint8)
    found = observe(noise)
    assert {name: block.shape for name, block in found.items()} == {n: (size,) for n, size in BLOCKS.items()}
    assert all(np.isfinite(block).all() and block.dtype == np.float32 for block in found.values())
    for name, block in observe(noise.copy()).items():
        np.testing.assert_array_equal(block, found[name])


def test_a_still_clip_has_hardly_a_vector_and_a_moving_one_has_a_whole_one():
    still = np.repeat(look("gild", SCENE, 1), 25, axis=0)
    trembling = np.clip(still.astype(int) + np.random.default_rng(0).integers(-1, 2, still.shape), 0, 255)
    quiet, noisy, moving = np.linalg.norm(
        pixels(still, trembling.astype(np.uint8), look("gild", SCENE, 25)), axis=1
    )
    assert quiet == 0 and noisy < 0.5 and moving > 0.8


def test_the_way_things_go_is_seen_and_a_clip_is_not_its_reverse():
    left, right = (
        observe(look(name, SCENE, 25))["motion"].reshape(8, -1)[:, 0] for name in ("pan_left", "pan_right")
    )
    assert np.sign(left.mean()) == -np.sign(right.mean())
    forward = look("crumble", SCENE, 25)
    one, other, again = pixels(forward, forward[::-1], look("crumble", SCENE + 7, 25))
    assert one @ again > one @ other + 0.1


def test_directions_are_fitted_again_from_renders_and_a_broken_file_is_one_sentence(tmp_path, monkeypatch):
    made = ship_directions(tmp_path / "own.safetensors", tmp_path, silent, ("melt", "gild"), clips=2)
    own, kept = load_file(tmp_path / "own.safetensors"), load_file(directions.SHIPPED)
    assert made["clips"] == 4
    assert {name: value.shape for name, value in own.items()} == {n: value.shape for n, value in kept.items()}
    (tmp_path / "broken").write_bytes(b"none")
    monkeypatch.setattr(directions, "SHIPPED", tmp_path / "broken")
    with pytest.raises(DirectionsMissing, match="make pocket"):
        shipped.__wrapped__()
