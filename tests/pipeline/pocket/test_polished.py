"""The lesson without names: adapters of single clips are predicted from the clips."""

import pytest
import torch

from pipeline.pocket.polished import BadAdapters, PolishedClips, teach_polished, unexplained
from tests.training.small_backbones import LATENTS, build_method
from training.pretrain.fit import FitSettings
from training.randomness import normal


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backbone") / "tiny"


def clips_of(method, kinds: int = 2, each: int = 6) -> PolishedClips:
    """Clips of `kinds` looks, and for each look one adapter: of nothing but noise, but the same noise."""
    looks = torch.stack([normal(kind, "look", LATENTS) for kind in range(kinds)])
    shape = (len(method.adapters), method.adapters.values_per_layer)
    adapters = torch.stack([0.3 * normal(kind, "adapter", shape) for kind in range(kinds)])
    rows = torch.arange(kinds * each) % kinds
    noise = torch.stack([0.3 * normal(number, "clip", LATENTS) for number in range(len(rows))])
    return PolishedClips(looks[rows] + noise, adapters[rows])


@pytest.mark.parametrize("compared", ["values", "product"])
def test_the_hypernetwork_learns_which_adapter_is_a_clips_and_nothing_else_moves(folder, tmp_path, compared):
    method = build_method(folder)
    clips = clips_of(method)
    auxiliary = [value.clone() for value in method.adapters.parameters()]
    before = unexplained(method, clips, compared, "float32")
    teach_polished(
        method,
        clips,
        FitSettings(150, lr=1e-2, warmup=5, decay=0.4, ema_decay=0.9),
        tmp_path / "state.safetensors",
        batch=8,
        compared=compared,
        precision="float32",
    )
    after = unexplained(method, clips, compared, "float32")
    # Whoever does not look at the clips leaves 1.
    assert before > 1 and after < 0.85
    assert all(torch.equal(a, b) for a, b in zip(auxiliary, method.adapters.parameters(), strict=True))


def test_an_adapter_with_both_signs_turned_is_the_same_product(folder):
    method = build_method(folder)
    clips = clips_of(method)
    turned = PolishedClips(clips.latents, -clips.theta)
    same = [unexplained(method, each, "product", "float32") for each in (clips, turned)]
    other = [unexplained(method, each, "values", "float32") for each in (clips, turned)]
    assert same[0] == pytest.approx(same[1]) and other[0] != pytest.approx(other[1])


def test_adapters_that_teach_nothing_are_said(folder, tmp_path):
    latents, theta = torch.zeros(2, *LATENTS), torch.zeros(2, 8, 20)
    with pytest.raises(BadAdapters, match="one adapter for each of two"):
        PolishedClips(latents, theta[:1])
    with pytest.raises(BadAdapters, match="not finite"):
        PolishedClips(latents, theta / 0)
    method = build_method(folder)
    alike = torch.ones(2, len(method.adapters), method.adapters.values_per_layer)
    with pytest.raises(BadAdapters, match="All adapters are the same"):
        teach_polished(method, PolishedClips(latents, alike), FitSettings(1), tmp_path / "state.safetensors")
