"""Fitting a small model from nothing: it learns, and a run that was stopped ends as an unbroken one does."""

import time

import pytest
import torch
from torch import nn

from training.pretrain.fit import BadFitState, FitSettings, fit

SETTINGS = FitSettings(steps=12, lr=0.05, warmup=2, ema_decay=0.9, save_every=4)


def line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def loss_of(model: nn.Module):
    def loss(step: int) -> torch.Tensor:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return (model(x)[:, 0] - x.sum(dim=1)).square().mean()

    return loss


def test_it_learns(tmp_path):
    model = line()
    before = loss_of(model)(99).item()
    fit(model, loss_of(model), FitSettings(steps=200, lr=0.05, warmup=2), tmp_path / "state.safetensors")
    assert loss_of(model)(99).item() < 0.05 * before


@pytest.mark.parametrize("stop", [1, 6, 11])
def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path, stop):
    unbroken = line()
    fit(unbroken, loss_of(unbroken), SETTINGS, tmp_path / "unbroken.safetensors")

    def interrupted(model):
        loss = loss_of(model)

        def step_or_stop(step: int) -> torch.Tensor:
            if step == stop:
                raise KeyboardInterrupt
            return loss(step)

        return step_or_stop

    first, second = line(), line()
    with pytest.raises(KeyboardInterrupt):
        fit(first, interrupted(first), SETTINGS, tmp_path / "state.safetensors")
    seen = []
    progress = lambda done, total, info: seen.append(done)  # noqa: E731
    fit(second, loss_of(second), SETTINGS, tmp_path / "state.safetensors", progress)
    assert seen == list(range(stop + 1, 13))
    assert torch.equal(second.weight, unbroken.weight)


def test_muon_moves_the_matrices_it_is_given_and_resumes_to_the_same_weights(tmp_path):
    unbroken, first, second, adam = net(), net(), net(), net()
    fit(unbroken, loss_of(unbroken), SETTINGS, tmp_path / "unbroken.safetensors", matrices=["0.weight"])
    fit(adam, loss_of(adam), SETTINGS, tmp_path / "adam.safetensors")
    assert not torch.equal(unbroken[0].weight, adam[0].weight)

    def dies(step: int) -> torch.Tensor:
        if step == 5:
            raise KeyboardInterrupt
        return loss_of(first)(step)

    with pytest.raises(KeyboardInterrupt):
        fit(first, dies, SETTINGS, tmp_path / "state.safetensors", matrices=["0.weight"])
    fit(second, loss_of(second), SETTINGS, tmp_path / "state.safetensors", matrices=["0.weight"])
    for resumed, whole in zip(second.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(resumed, whole)
    with pytest.raises(BadFitState):
        fit(net(), loss_of(second), SETTINGS, tmp_path / "adam.safetensors", matrices=["0.weight"])


def test_tables_of_words_take_eight_times_the_rate(tmp_path):
    one = FitSettings(steps=1, lr=1e-3, warmup=1, decay=1e-9, ema_decay=0.0)
    slow, quick = net(), net()
    fit(slow, loss_of(slow), one, tmp_path / "slow.safetensors")
    fit(quick, loss_of(quick), one, tmp_path / "quick.safetensors", words=["0.weight"])
    begun = net()[0].weight
    assert torch.allclose(quick[0].weight - begun, 8 * (slow[0].weight - begun), rtol=1e-2)
    assert torch.equal(quick[2].weight, slow[2].weight)


@pytest.mark.parametrize("stop", [3, 9])
def test_what_gets_a_gradient_only_later_resumes_to_the_same_weights(tmp_path, stop):
    """As a VAE's steps of single frames leave out what joins frames."""

    def loss_from(model: nn.Sequential, end: int = 12):
        def loss(step: int) -> torch.Tensor:
            if step == end:
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            return (model(x) if step >= 6 else model[0](x)).square().mean()

        return loss

    unbroken, first, second = net(), net(), net()
    fit(unbroken, loss_from(unbroken), SETTINGS, tmp_path / "unbroken.safetensors")
    with pytest.raises(KeyboardInterrupt):
        fit(first, loss_from(first, stop), SETTINGS, tmp_path / "state.safetensors")
    fit(second, loss_from(second), SETTINGS, tmp_path / "state.safetensors")
    for one, other in zip(unbroken.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_finished_state_is_loaded_and_nothing_is_done_again(tmp_path):
    model, again = line(), line()
    loss = loss_of(model)

    def slow(step: int) -> torch.Tensor:
        time.sleep(0.02)
        return loss(step)

    seconds = fit(model, slow, SETTINGS, tmp_path / "state.safetensors")

    def never(step: int) -> torch.Tensor:
        raise AssertionError(f"step {step} was done again")

    assert fit(again, never, SETTINGS, tmp_path / "state.safetensors") >= 0.02 * SETTINGS.steps
    assert seconds >= 0.02 * SETTINGS.steps
    assert torch.equal(model.weight, again.weight)


@pytest.mark.parametrize("damage", ["another model's", "torn"])
def test_a_state_that_does_not_fit_is_one_sentence(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    model = line() if damage == "torn" else nn.Linear(4, 1)
    fit(model, lambda step: model.weight.square().sum() + model.bias.square().sum(), SETTINGS, path)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    fresh = line()
    with pytest.raises(BadFitState, match="Delete it to begin again"):
        fit(fresh, loss_of(fresh), SETTINGS, path)


def test_the_rate_warms_up_stays_and_falls_to_zero():
    rates = [FitSettings(steps=100, lr=1.0, warmup=10, decay=0.2).share(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == rates[79] == 1.0
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0
