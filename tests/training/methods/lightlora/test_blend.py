"""Adapters added up: the residual of the sum is the sum of the residuals."""

import pytest
import torch

from tests.training.small_backbones import SMALL, build_method, disturb, random_batch
from training.errors import BadMethodSettings
from training.methods.lightlora.export import adapter_to_lora, factors_of
from training.methods.lightlora.layers import Factors


@pytest.fixture(scope="module")
def method(tiny_folder):
    return disturb(build_method(tiny_folder, SMALL.model_copy(update={"scale": 0.7})), size=0.5)


@pytest.fixture(scope="module")
def thetas(method) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(method.condition(random_batch(1, 2, 3).references).split(1))


def residuals(method, adapter) -> torch.Tensor:
    """B A of every linear, [L, out, in]."""
    lora = adapter_to_lora(method.adapters, adapter)
    pairs = zip(list(lora.values())[::2], list(lora.values())[1::2], strict=True)
    return torch.stack([up @ down for down, up in pairs])


def test_the_residual_of_a_blend_is_the_weighted_sum_whatever_the_weights_signs(method, thetas):
    weights = [0.7, -0.4, 1.5]
    expected = sum(w * residuals(method, theta) for w, theta in zip(weights, thetas, strict=True))
    both = method.blend(thetas, weights)
    assert torch.allclose(residuals(method, both), expected, atol=1e-5)
    assert both.shape[-1] == 3 * thetas[0].shape[-1]
    mean = sum(w * theta for w, theta in zip(weights, thetas, strict=True))
    assert (residuals(method, mean) - expected).abs().max() > 1e-3, "a mean of predictions is another adapter"


def test_the_network_runs_under_a_blend_as_under_the_merged_weights(method, thetas):
    batch = random_batch(1)
    noisy, timesteps, _ = method.dit.objective.corrupt(batch.target_latents, batch.sample_seeds)
    with torch.no_grad():
        frozen = method.dit.velocity(noisy, timesteps, batch.scene)
        found = []
        for adapter in (
            method.blend(thetas[:1] * 2, [0.5, 0.5]),
            thetas[0],
            factors_of(method.adapters, thetas[0]),
        ):
            with method.under(adapter) as velocity:
                found.append(velocity(noisy, timesteps, batch.scene))
        with method.under(method.blend(thetas[:1] * 2, [1, -1])) as velocity:
            nothing = velocity(noisy, timesteps, batch.scene)
    assert torch.allclose(found[0], found[1], atol=1e-5) and torch.allclose(found[2], found[1], atol=1e-5)
    assert (found[1] - frozen).abs().max() > 1e-2
    assert torch.allclose(nothing, frozen, atol=1e-5)
    layer = next(iter(method.adapters.layers.values()))
    assert layer.down_pred is None and layer.given is None


def test_a_lora_is_added_to_an_adapter_as_two_adapters_are(method, thetas):
    lora = factors_of(method.adapters, thetas[1])
    some = Factors(dict(list(lora.by_linear.items())[::2]))
    both = method.blend([thetas[0], some], [1.0, -2.0])
    expected = residuals(method, thetas[0])
    expected[::2] -= 2 * residuals(method, thetas[1])[::2]
    assert torch.allclose(residuals(method, both), expected, atol=1e-5)


def test_the_nearest_adapter_of_the_models_size_keeps_what_it_says_and_no_other_is_nearer(method, thetas):
    whole = method.blend(thetas[:2], [0.8, 0.2])
    target = residuals(method, whole)
    near, kept = method.reduce(whole)
    assert near.shape == thetas[0].shape
    error = (residuals(method, near) - target).square().sum() / target.square().sum()
    assert error.item() == pytest.approx(1 - kept, abs=1e-4)
    best = torch.linalg.svdvals(target.double()).square()
    assert kept == pytest.approx((best[:, 0].sum() / best.sum()).item(), abs=1e-4)
    assert 0.5 < kept < 1
    same, all_of_it = method.reduce(thetas[0])
    assert same is thetas[0] and all_of_it == 1


def test_an_adapter_of_another_model_is_refused(method, thetas):
    with pytest.raises(BadMethodSettings, match="does not fit"):
        method.blend([thetas[0][..., :-1]], [1.0])
