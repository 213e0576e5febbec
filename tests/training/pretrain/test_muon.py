"""Muon for many small matrices: the steps of PyTorch's, but for the rounding of bf16."""

import pytest
import torch
from torch import nn

from training.pretrain.muon import Muon, orthogonal

SHAPES = [(24, 48), (48, 24), (24, 24), (24, 48)]
RATE, DECAY = 1e-2, 0.1


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def after_steps(optimizer: torch.optim.Optimizer, moved: list[nn.Parameter]) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    for _ in range(4):
        for weight in moved:
            weight.grad = torch.randn(weight.shape, generator=draws)
        optimizer.step()
    return [weight.detach() for weight in moved]


def test_it_moves_matrices_as_pytorchs_own_does():
    begun, ours, theirs = weights(), weights(), weights()
    found = after_steps(Muon(ours, RATE, DECAY), ours)
    whole = torch.optim.Muon(theirs, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for start, mine, other in zip(begun, found, after_steps(whole, theirs), strict=True):
        way = (other - start).norm()
        assert way > 0.1
        assert (mine - other).norm() < 0.02 * way


def test_a_matrix_without_a_gradient_stays():
    moved = weights()
    moved[0].grad = torch.ones_like(moved[0])
    before = [weight.detach().clone() for weight in moved]
    Muon(moved, RATE, DECAY).step()
    assert not torch.equal(moved[0], before[0])
    assert all(map(torch.equal, moved[1:], before[1:]))


@pytest.mark.parametrize("shape", [(3, 24, 48), (3, 48, 24)])
def test_singular_values_come_near_1_and_nothing_is_rounded_to_bf16(shape):
    group = torch.optim.Muon([nn.Parameter(torch.zeros(2, 2))]).param_groups[0]
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrices, group)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.5
    assert not torch.equal(found, found.bfloat16().float())
    # Each by itself: what lies beside it changes nothing.
    assert torch.allclose(found[1:2], orthogonal(matrices[1:2], group), atol=1e-5)
