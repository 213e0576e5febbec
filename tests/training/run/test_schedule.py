from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from training.errors import TrainingError
from training.run.schedule import (
    ema_decay,
    learning_rate,
    rank_samples,
    sample_plan,
    step_seed,
    worker_accumulation,
)
from training.run.settings import TrainSettings

small = st.integers(1, 5)


@given(step=st.integers(0, 1000), world=small, batch=small, accumulation=small)
def test_the_workers_of_a_step_take_each_of_its_samples_once(step, world, batch, accumulation):
    taken = [
        number
        for rank in range(world)
        for micro in rank_samples(step, rank, world, batch, accumulation)
        for number in micro
    ]
    per_step = world * batch * accumulation
    assert sorted(taken) == list(range(step * per_step, (step + 1) * per_step))


@given(step=st.integers(0, 1000), batch=small, accumulation=small)
def test_two_workers_see_together_what_one_with_twice_the_batch_sees(step, batch, accumulation):
    one = rank_samples(step, 0, 1, 2 * batch, accumulation)
    first, second = (rank_samples(step, rank, 2, batch, accumulation) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == one


def test_a_plan_from_a_later_step_is_the_rest_of_the_whole_plan():
    settings = TrainSettings(steps=9, batch_size=2, workers=2, accumulation=3)
    whole = list(sample_plan(settings, rank=1, world_size=2))
    samples = 4 * settings.samples_per_step
    assert list(sample_plan(settings, rank=1, world_size=2, step=4, samples=samples)) == whole[4 * 3 :]


def test_a_run_resumed_with_another_batch_size_takes_no_sample_twice():
    before, after = TrainSettings(steps=10, batch_size=4), TrainSettings(steps=10, batch_size=1)
    taken = [number for micro in list(sample_plan(before, 0, 1))[:5] for number in micro]
    taken += [number for micro in sample_plan(after, 0, 1, step=5, samples=20) for number in micro]
    assert taken == list(range(25))


def test_fewer_elastic_workers_accumulate_more_so_that_a_step_stays_a_step():
    settings = TrainSettings(steps=5, batch_size=2, workers=(1, 2))
    assert worker_accumulation(settings, 2) == 1
    assert worker_accumulation(settings, 1) == 2
    with_one = [number for micro in sample_plan(settings, 0, 1) for number in micro]
    assert with_one == list(range(5 * 4))


def test_a_number_of_workers_that_does_not_divide_a_step_is_refused_with_what_to_change():
    with pytest.raises(TrainingError, match="accumulation"):
        worker_accumulation(TrainSettings(batch_size=1, workers=(1, 4)), 3)


def test_the_learning_rate_rises_linearly_and_falls_to_zero_as_a_cosine():
    settings = TrainSettings(steps=110, lr=1.0, warmup_steps=10, schedule="cosine")
    rates = [learning_rate(step, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[60] == pytest.approx(0.5)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def test_the_moving_average_forgets_the_initial_weights_early():
    assert ema_decay(1, 0.999) < 0.2
    assert ema_decay(100_000, 0.999) == 0.999


@given(step=st.integers(0, 10**6), rank=st.integers(0, 63))
def test_a_steps_random_state_differs_from_every_neighbours(step, rank):
    seeds = {step_seed(7, step, rank), step_seed(7, step + 1, rank), step_seed(7, step, rank + 1)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stepz": 1},
        {"steps": 0},
        {"workers": (3, 2)},
        {"betas": (0.9, 1.0)},
        {"zero_stage": 4},
        {"activation_checkpointing": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrainSettings(**wrong)
