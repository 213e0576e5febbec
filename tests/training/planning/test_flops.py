"""The counted operations of a step equal what torch counts while it runs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.training.small_backbones import (
    LATENTS,
    SMALL,
    TEXT_TOKENS,
    build_method,
    load_backbone,
    random_batch,
)
from training.backbones.cogvideox.published import TRANSFORMER_5B_I2V, meta_transformer
from training.planning.flops import forward_flops, hypernetwork_flops, lightlora_flops, training_flops
from training.run.activations import checkpoint_blocks

FULL = (13, 16, 60, 90)


def counted(run) -> int:
    """Operations that torch counts; its attention by the plain formula, which hides no matrix product."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


def test_a_forward_pass_is_counted_exactly(tiny_folder):
    transformer = load_backbone(tiny_folder).transformer
    frames, _, height, width = LATENTS

    def forward():
        transformer(
            hidden_states=torch.randn(1, frames, 32, height, width),
            encoder_hidden_states=torch.randn(1, TEXT_TOKENS, 32),
            timestep=torch.zeros(1, dtype=torch.int64),
        )

    assert counted(forward) == forward_flops(transformer.config, LATENTS, TEXT_TOKENS)


@pytest.mark.parametrize("policy", ["none", "full", 3])
def test_a_training_step_is_counted_within_a_few_thousandths(tiny_folder, policy):
    method = build_method(tiny_folder)
    name, every = ("every_n", policy) if isinstance(policy, int) else (policy, 1)
    checkpoint_blocks(method.transformer, name, every)
    batch = random_batch(1, 2)
    layers, config = len(method.adapters), method.transformer.config
    ours = training_flops(config, LATENTS, TEXT_TOKENS, 2, policy)
    ours += hypernetwork_flops(SMALL, layers, LATENTS, 2)
    ours += lightlora_flops(config, SMALL, layers, LATENTS, TEXT_TOKENS, 2)
    theirs = counted(lambda: method(batch).loss.backward())
    assert ours == pytest.approx(theirs, rel=0.003)


def test_predicting_adapters_is_counted_on_its_own(tiny_folder):
    method = build_method(tiny_folder)
    batch = random_batch(1, 2, 3)

    def predict():
        method.predict(batch.reference_latents, batch.reference_mask).square().sum().backward()

    ours = hypernetwork_flops(SMALL, len(method.adapters), LATENTS, 3)
    assert ours == pytest.approx(counted(predict), rel=0.001)


def test_the_real_transformer_takes_a_third_of_a_petaflop_forward():
    transformer = meta_transformer()
    latents = torch.empty(1, 13, 32, 60, 90, device="meta")
    text = torch.empty(1, 226, 4096, device="meta")
    timestep = torch.zeros(1, device="meta")
    with torch.no_grad():
        theirs = counted(lambda: transformer(latents, text, timestep))
    assert forward_flops(TRANSFORMER_5B_I2V, FULL, 226) == theirs == pytest.approx(0.332e15, rel=0.002)


def test_recomputing_all_blocks_adds_a_forward_pass_and_every_second_half_of_one():
    none, half, full = (
        training_flops(TRANSFORMER_5B_I2V, FULL, 226, 1, policy) for policy in ("none", 2, "full")
    )
    assert full - none == pytest.approx(forward_flops(TRANSFORMER_5B_I2V, FULL, 226), rel=1e-3)
    assert half - none == pytest.approx((full - none) / 2)
    assert none == pytest.approx(0.826e15, rel=0.002)
