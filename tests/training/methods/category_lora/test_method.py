"""One adapter per category: what a reference's category says, and what it cannot say."""

from dataclasses import replace

import pytest
import torch

from tests.training.small_backbones import ADAPTERS, build_method, load_backbone, random_batch
from training.batch import References
from training.errors import BadMethodSettings
from training.methods.lightlora.export import merge_lora
from training.methods.registry import build_method as build_on
from training.methods.registry import parse_settings

SETTINGS = parse_settings(ADAPTERS | {"kind": "category_lora"})
CATEGORIES = ("explode", "melt")


@pytest.fixture
def method(tiny_folder):
    return build_method(tiny_folder, SETTINGS, categories=CATEGORIES)


def of(*names: str):
    """A batch of one target for each category, without the references' latents: nothing of them is needed."""
    return replace(random_batch(*range(1, 1 + len(names))), references=References(names))


def trained(method, steps: int = 4):
    """After some steps on both categories."""
    optimizer = torch.optim.AdamW(method.trainable_parameters(), lr=3e-2)
    for step in range(steps):
        optimizer.zero_grad()
        method(
            replace(random_batch(2 * step, 2 * step + 1), references=References(CATEGORIES))
        ).loss.backward()
        optimizer.step()
    return method


def test_at_the_start_every_category_is_the_frozen_backbone_and_every_tensor_has_a_gradient_soon(method):
    batch = of("melt", "explode")
    with torch.no_grad():
        assert torch.equal(
            method.sample_losses(batch, method.condition(batch.references)), method.sample_losses(batch, None)
        )
    trained(method)
    assert all(value.grad.any() for value in method.trainable_parameters())


def test_a_category_has_its_own_adapter_whatever_stands_beside_it(method):
    trained(method)
    with torch.no_grad():
        melt, explode = method.condition(References(CATEGORIES[::-1]))
        assert not torch.equal(melt, explode)
        assert torch.equal(method.condition(References(("melt",)))[0], melt)


def test_a_category_that_did_not_train_leaves_the_backbone_as_it_was(method):
    trained(method)
    batch = of("melt", "vanish")
    with torch.no_grad():
        under = method.sample_losses(batch, method.condition(batch.references))
        frozen = method.sample_losses(batch, None)
    assert under[0] != frozen[0]
    torch.testing.assert_close(under[1], frozen[1], rtol=1e-5, atol=1e-6)


def test_its_adapters_are_exported_as_a_lora_that_does_the_same(method, tiny_folder):
    trained(method)
    batch = of("melt")
    with torch.no_grad():
        condition = method.condition(batch.references)
        under = method.sample_losses(batch, condition)
    dit = load_backbone(tiny_folder).dit
    dit.module.load_state_dict(merge_lora(dit.module.state_dict(), method.export(condition)))
    merged = build_on(SETTINGS, dit, ("any",))
    with torch.no_grad():
        torch.testing.assert_close(merged.sample_losses(batch, None), under, rtol=1e-4, atol=1e-5)
    assert method.vector(condition).shape == (condition.numel(),)


def test_without_a_category_there_is_nothing_to_learn(tiny_folder):
    with pytest.raises(BadMethodSettings, match="video2lora cluster"):
        build_method(tiny_folder, SETTINGS, categories=())
