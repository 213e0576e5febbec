"""The weight-space lesson: predictions against adapters that a teacher found."""

from dataclasses import replace

import pytest
import torch

from tests.training.methods.test_cost import counted
from tests.training.small_backbones import (
    ADAPTERS,
    LATENTS,
    SMALL,
    build_method,
    disturb,
    random_batch,
    random_sample,
)
from training.batch import TrainingBatch, collate
from training.errors import BadBatch, BadMethodSettings, StateMismatch
from training.methods.lightlora.layers import auxiliary_of
from training.methods.registry import parse_settings
from training.randomness import normal


def taught_batch(method, *seeds: int) -> TrainingBatch:
    """Random references, each with random numbers for an adapter."""
    batch = random_batch(*seeds)
    size = len(method.adapters) * method.adapters.values_per_layer
    adapters = torch.stack([0.1 * normal(seed, "adapter", (size,)) for seed in seeds])
    return replace(batch, references=replace(batch.references, adapters=adapters))


@pytest.fixture
def method(tiny_folder):
    return disturb(build_method(tiny_folder))


def test_the_loss_is_the_share_of_the_adapters_variance_that_predictions_leave(method):
    batch = taught_batch(method, 1, 2)
    method.learn_from(None, spread=0.25)
    with torch.no_grad():
        found = method.condition(batch.references)
        off = found.flatten(1) - batch.references.adapters
        assert method(batch).loss.item() == pytest.approx(
            (off**2).sum().item() / off.numel() / 0.25, rel=1e-5
        )
        exact = replace(batch, references=replace(batch.references, adapters=found.flatten(1)))
        assert method(exact).loss == 0
        # Whoever says the mean of all adapters to everything leaves 1.
        wanted = torch.randn(50, *found.shape[1:], generator=torch.Generator().manual_seed(0))
        spread = (wanted - wanted.mean(0)).square().mean()
        own = replace(batch.references, adapters=wanted.flatten(1))
        assert method.distance(wanted.mean(0).expand_as(wanted), own, spread).item() == pytest.approx(1)


def test_the_hypernetwork_alone_learns_and_the_frozen_model_is_not_asked(method, tiny_folder):
    teacher = build_method(
        tiny_folder, parse_settings(ADAPTERS | {"kind": "category_lora"}), categories=("",), seed=7
    )
    theirs = auxiliary_of(teacher.trainable_state())
    assert any(not torch.equal(method.trainable_state()[name], value) for name, value in theirs.items())
    method.learn_from(theirs, spread=0.01)
    assert set(method.parameter_groups()) == {"hypernetwork"}
    assert all(name.startswith("hypernetwork.") for name in method.trainable_state())

    def asked(*_args, **_kwargs):
        raise AssertionError("a pass of the frozen transformer")

    method.transformer.forward = asked
    method(taught_batch(method, 1, 2)).loss.backward()
    for name, value in method.named_parameters():
        assert (value.grad is not None and bool(value.grad.any())) == name.startswith("hypernetwork."), name
    now = dict(method.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in theirs.items())


def test_it_learns_which_adapter_is_a_clips(tiny_folder):
    method = build_method(tiny_folder)
    shape = (len(method.adapters), method.adapters.values_per_layer)
    looks = torch.stack([normal(kind, "look", LATENTS) for kind in range(2)])
    adapters = torch.stack([0.3 * normal(kind, "adapter", shape) for kind in range(2)])

    def batch(step: int) -> TrainingBatch:
        made = random_batch(*range(8))
        noise = torch.stack([0.3 * normal(8 * step + row, "clip", LATENTS) for row in range(8)])
        kinds = torch.arange(8) % 2
        references = replace(
            made.references, latents=looks[kinds] + noise, adapters=adapters[kinds].flatten(1)
        )
        return replace(made, references=references)

    method.learn_from(None, (adapters - adapters.mean(0)).square().mean().item())
    optimizer = torch.optim.AdamW(method.trainable_parameters(), lr=3e-3)
    with torch.no_grad():
        before = method(batch(-1)).loss.item()
    for step in range(100):
        optimizer.zero_grad()
        method(batch(step)).loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = method(batch(-1)).loss.item()
    # Whoever does not look at the clips leaves 1.
    assert before > 1 and after < 0.5


def test_its_operations_are_counted_within_a_few_thousandths(method, tiny_folder):
    method.learn_from(None, spread=1.0)
    batch = taught_batch(method, 1, 2)
    theirs = counted(lambda: method(batch).loss.backward())
    assert 2 * method.flops(LATENTS) == pytest.approx(theirs, rel=0.003)
    plain = build_method(tiny_folder)
    assert method.flops(LATENTS) < plain.flops(LATENTS)
    assert method.kept_values(LATENTS, "none") < plain.kept_values(LATENTS, "none")


def test_references_without_adapters_or_with_those_of_other_sizes_are_said(method):
    method.learn_from(None, spread=1.0)
    with pytest.raises(BadBatch, match="references come with none: let a model"):
        method(random_batch(1))
    batch = taught_batch(method, 1)
    short = replace(batch.references, adapters=batch.references.adapters[:, :-1])
    with pytest.raises(BadBatch, match="come with 319 values each"):
        method(replace(batch, references=short))
    samples = [replace(random_sample(size), reference_adapter=torch.zeros(size)) for size in (3, 4)]
    with pytest.raises(BadBatch, match=r"reference_adapter \(4,\); this batch needs \(3,\)"):
        collate(samples)


def test_auxiliary_matrices_of_other_sizes_are_refused_and_nothing_is_copied(method, tiny_folder):
    before = {name: value.clone() for name, value in method.trainable_state().items()}
    other = build_method(tiny_folder, SMALL.model_copy(update={"up_size": 4}))
    with pytest.raises(StateMismatch, match="other linears or sizes"):
        method.learn_from(auxiliary_of(other.trainable_state()), spread=1.0)
    assert method.spread is None
    assert all(torch.equal(before[name], value) for name, value in method.trainable_state().items())


@pytest.mark.parametrize("kind", ["category_lora", "video_as_prompt"])
def test_a_method_that_predicts_no_adapter_has_no_such_lesson(tiny_folder, kind):
    sizes = ADAPTERS if kind == "category_lora" else {}
    method = build_method(tiny_folder, parse_settings(sizes | {"kind": kind}), categories=("",))
    with pytest.raises(
        BadMethodSettings, match=rf"method.kind={kind} predicts no adapter.*train.teacher=null"
    ):
        method.learn_from(None, spread=1.0)
