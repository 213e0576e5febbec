import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler

from training import randomness
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V
from training.errors import TrainingError, UnsupportedBackbone

DIFFUSION = Diffusion(SCHEDULER_5B_I2V)
TIMES = torch.tensor([0, 1, 250, 500, 900, 998, 999])


def latents(seed: int) -> torch.Tensor:
    return torch.randn(len(TIMES), 3, 4, 2, 2, generator=torch.Generator().manual_seed(seed))


def test_noising_and_target_equal_diffusers_schedulers():
    clean, noise = latents(0).double(), latents(1).double()
    for scheduler in (CogVideoXDDIMScheduler, CogVideoXDPMScheduler):
        theirs = scheduler.from_config(SCHEDULER_5B_I2V)
        assert torch.allclose(DIFFUSION.add_noise(clean, noise, TIMES), theirs.add_noise(clean, noise, TIMES))
        assert torch.allclose(
            DIFFUSION.velocity(clean, noise, TIMES), theirs.get_velocity(clean, noise, TIMES)
        )


def test_the_v_loss_equals_the_x0_loss_weighted_by_one_over_one_minus_alpha_bar():
    clean, noise, predicted = latents(0).double(), latents(1).double(), latents(2).double()
    noisy = DIFFUSION.add_noise(clean, noise, TIMES)
    v_loss = DIFFUSION.losses(predicted, DIFFUSION.velocity(clean, noise, TIMES), TIMES)
    estimate = DIFFUSION.clean_estimate(predicted, noisy, TIMES)
    x0_loss = (estimate - clean).square().flatten(1).mean(1)
    weighted = x0_loss / (1 - DIFFUSION.alphas_cumprod[TIMES])
    assert torch.allclose(v_loss.double(), weighted, rtol=1e-3)
    assert v_loss.dtype == torch.float32


def test_the_last_timestep_has_no_signal_and_every_weight_is_finite():
    assert DIFFUSION.alphas_cumprod[-1] == 0
    for gamma in (None, 1.0, 5.0):
        weights = DIFFUSION.weights(torch.arange(1000), gamma)
        assert torch.isfinite(weights).all()
        assert (weights >= 0).all()


def test_min_snr_caps_the_x0_loss_at_gamma():
    gamma = 5.0
    alpha = DIFFUSION.alphas_cumprod
    snr = alpha / (1 - alpha)
    x0_weight = DIFFUSION.weights(torch.arange(1000), gamma).double() / (1 - alpha)
    assert torch.allclose(x0_weight, snr.clamp(max=gamma), rtol=1e-5)


def test_timesteps_are_uniform_and_belong_to_the_seed():
    seeds = torch.arange(20_000)
    times = DIFFUSION.timesteps(seeds)
    assert torch.equal(times[:50], DIFFUSION.timesteps(seeds[:50]))
    counts = np.bincount(times.numpy() // 100, minlength=10)
    # Ten bins of 2000 expected: chi-square with 9 degrees of freedom, 0.999 quantile 27.9.
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9


def test_shifted_timesteps_are_the_uniform_ones_moved_towards_noise():
    seeds = torch.arange(2_000)
    uniform, shifted = DIFFUSION.timesteps(seeds), DIFFUSION.timesteps(seeds, shift=8.0)
    share = (uniform.double() + 0.5) / 1000
    assert torch.equal(shifted, (8000 * share / (1 + 7 * share)).long())
    assert (shifted >= uniform).all() and shifted.max() <= 999
    assert (shifted >= 880).float().mean() == pytest.approx(0.52, abs=0.04)


def test_a_sample_is_corrupted_the_same_in_any_batch():
    clean = latents(0)
    seeds = torch.arange(100, 100 + len(clean))
    noisy, times, target = DIFFUSION.corrupt(clean, seeds)
    turned = torch.tensor([3, 0])
    other_noisy, other_times, other_target = DIFFUSION.corrupt(clean[turned], seeds[turned])
    assert torch.equal(noisy[turned], other_noisy)
    assert torch.equal(times[turned], other_times)
    assert torch.equal(target[turned], other_target)


def test_purposes_and_seeds_draw_independent_values():
    first = randomness.normal(1, "noise", (50_000,))
    assert torch.equal(first, randomness.normal(1, "noise", (50_000,)))
    for other in (randomness.normal(1, "posterior", (50_000,)), randomness.normal(2, "noise", (50_000,))):
        assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.02
    assert abs(first.mean()) < 0.02
    assert abs(first.std() - 1) < 0.02
    # Seeds that agree in their low 32 bits are different seeds.
    assert not torch.equal(first, randomness.normal(1 + 2**32, "noise", (50_000,)))


def test_a_share_of_the_seeds_drops_its_caption():
    dropped = sum(randomness.happens(seed, "caption", 0.1) for seed in range(5000))
    assert 400 < dropped < 600
    assert not any(randomness.happens(seed, "caption", 0.0) for seed in range(100))
    assert all(randomness.happens(seed, "caption", 1.0) for seed in range(100))


def test_a_posterior_draw_has_its_mean_and_deviation():
    mean, std = torch.full((40_000,), 2.0), torch.full((40_000,), 0.5)
    draw = randomness.draw_posterior(mean, std, 7)
    assert torch.equal(draw, randomness.draw_posterior(mean, std, 7))
    assert abs(draw.mean() - 2) < 0.02
    assert abs(draw.std() - 0.5) < 0.01


def test_another_prediction_type_is_refused():
    with pytest.raises(UnsupportedBackbone, match="epsilon"):
        Diffusion(SCHEDULER_5B_I2V | {"prediction_type": "epsilon"})


def test_seeds_must_be_a_row_of_integers():
    with pytest.raises(TrainingError, match="integers"):
        randomness.normal_per_sample(torch.zeros(2), "noise", (2,))
