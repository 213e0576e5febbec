"""The clip descriptor: appearance apart from change, and order that a mean forgets."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pipeline.embedding.descriptor import EFFECT, ask_in_words, describe, descriptor_size, only
from pipeline.embedding.directions import SIZE

DIM = 32
rng = np.random.default_rng(0)


def clip(scene: int, effect: int | None, frames: int = 8, backward: bool = False) -> torch.Tensor:
    """Frame vectors [1, frames, DIM] that go from a scene's direction towards an effect's."""
    start = np.random.default_rng(scene).normal(size=DIM)
    towards = np.zeros(DIM) if effect is None else np.random.default_rng(1000 + effect).normal(size=DIM)
    along = np.linspace(0, 1, frames)[:, None]
    path = start + along * towards
    path = path[::-1].copy() if backward else path
    return normalize(torch.from_numpy(path).float(), dim=-1)[None]


def of(frames: torch.Tensor, pixels: torch.Tensor | None = None) -> torch.Tensor:
    """The descriptor; of pixels nothing is known but what is given."""
    return describe(frames, torch.zeros(1, SIZE) if pixels is None else pixels)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one * other).sum())


@pytest.mark.parametrize("frames", [1, 2, 8, 17])
def test_a_descriptor_has_one_length_and_one_size_for_any_number_of_frames(frames):
    made = of(clip(0, 0, frames))
    assert made.shape == (1, descriptor_size(DIM))
    assert float(made.norm()) == pytest.approx(1, abs=1e-5)


def test_a_reversed_clip_has_the_same_appearance_and_the_opposite_change():
    forward, backward = (of(clip(0, 0, backward=b)).numpy() for b in (False, True))
    looks = ("appearance",)
    assert float((only(forward, looks) * only(backward, looks)).sum()) == pytest.approx(1, abs=1e-4)
    assert float((only(forward, ("change",)) * only(backward, ("change",))).sum()) == pytest.approx(
        -1, abs=1e-4
    )


def test_change_finds_the_same_effect_on_another_scene_and_appearance_the_same_scene():
    asked, same_effect, same_scene = (of(clip(*each)).numpy() for each in ((0, 0), (1, 0), (0, 1)))
    change = only(asked, EFFECT)
    assert (change @ same_effect.T).item() > (change @ same_scene.T).item() + 0.1
    looks = only(asked, ("appearance",))
    assert (looks @ same_scene.T).item() > (looks @ same_effect.T).item() + 0.1


def test_the_noise_of_a_still_clip_is_no_change():
    noise = torch.from_numpy(rng.normal(0, 1e-3, (1, 8, DIM))).float()
    still = of(clip(0, None) + noise).numpy()
    assert np.linalg.norm(only(still, ("appearance",)) - still) < 0.15


def test_when_it_happens_is_told_apart_and_does_not_hang_on_the_number_of_frames():
    def jump(at: float, frames: int) -> torch.Tensor:
        ends = clip(0, 0, 2)[0]
        return torch.stack([ends[int(k / (frames - 1) > at)] for k in range(frames)])[None]

    early, late, early_too = (of(jump(*each)).numpy() for each in ((0.2, 17), (0.8, 17), (0.2, 25)))
    assert (only(early, ("onset",)) @ early_too.T).item() > (only(early, ("onset",)) @ late.T).item() + 0.1


def test_a_text_asks_for_what_is_seen_and_for_what_comes_to_be_seen():
    text = torch.from_numpy(np.random.default_rng(1000 + 3).normal(size=(1, DIM))).float()
    asked = ask_in_words(text)
    named, other = of(clip(0, 3)), of(clip(0, 4))
    assert cosine(asked, named) > cosine(asked, other) + 0.2
    assert cosine(asked, named) > cosine(asked, of(clip(0, 3, backward=True))) + 0.2


def test_what_pixels_do_counts_beside_what_frames_show():
    first, second = torch.eye(SIZE)[:2, None]
    asked, alike, other = (of(clip(0, 0), pixels) for pixels in (first, first, second))
    assert cosine(asked, alike) == pytest.approx(1, abs=1e-5)
    assert cosine(asked, other) < 0.6
