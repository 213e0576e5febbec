"""Polish: an adapter fits its own reference better, and nothing else changes."""

from dataclasses import replace

import pytest
import torch

from tests.training.small_backbones import (
    ADAPTERS,
    LATENTS,
    SMALL,
    TEXT_TOKENS,
    build_method,
    disturb,
)
from training.batch import References
from training.errors import BadBatch
from training.methods.own_loss import OwnClips, own_losses
from training.methods.registry import parse_settings
from training.polish import CannotPolish, polish
from training.run.activations import checkpoint_blocks
from training.settings import PolishSettings

FEW = PolishSettings(steps=6, batch_size=2)


def shown(*seeds: int) -> OwnClips:
    """One random reference for each seed, with its own first frame and text."""
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        drawn.append([torch.randn(shape, generator=generator) for shape in (LATENTS, (TEXT_TOKENS, 32))])
    latents, texts = (torch.stack(column) for column in zip(*drawn, strict=True))
    return OwnClips.whole(latents, latents[:, 0].clone(), texts)


def predicted(method, clips: OwnClips) -> torch.Tensor:
    with torch.no_grad():
        return method.condition(References(("",) * len(clips), clips.latents, clips.mask))


@pytest.fixture(scope="module")
def method(tiny_folder):
    return disturb(build_method(tiny_folder)).eval()


def own_loss(method, theta, clips) -> torch.Tensor:
    seeds = torch.arange(16)
    whole = clips.select([row for row in range(len(clips)) for _ in seeds])
    with torch.no_grad(), method.under(theta.repeat_interleave(len(seeds), dim=0)) as velocity:
        found = own_losses(velocity, method.dit, whole, seeds.repeat(len(clips)), 4.0)
    return found.view(len(clips), -1).mean(dim=1)


def test_each_reference_is_denoised_better_and_nothing_but_the_adapters_changes(method):
    clips = shown(1, 2)
    start = predicted(method, clips)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    told = []
    made = polish(method, start, clips, PolishSettings(steps=12), progress=lambda *row: told.append(row))
    assert (own_loss(method, made.condition, clips) < own_loss(method, start, clips)).all()
    # Each fits its own reference better than the other's adapter does.
    assert (own_loss(method, made.condition, clips) < own_loss(method, made.condition.flip(0), clips)).all()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(value.grad is None for value in method.parameters())
    assert made.losses.shape == (12, 2) and made.steps == (12, 12)
    assert [row[:2] for row in told] == [(step, 12) for step in range(1, 13)]
    assert method.export(made.condition[:1]).keys() == method.export(start[:1]).keys()


def test_no_steps_give_the_prediction_back_bit_for_bit(method):
    start = predicted(method, shown(1))
    made = polish(method, start, shown(1), PolishSettings())
    assert torch.equal(made.condition, start) and not made.condition.requires_grad
    assert made.steps == (0,)


def test_an_adapter_does_not_depend_on_what_is_polished_beside_it_nor_on_how_much_at_once(method):
    clips = shown(1, 2, 3)
    start = predicted(method, clips)
    together = polish(method, start, clips, FEW).condition
    assert torch.equal(together, polish(method, start, clips, FEW).condition)
    assert not torch.equal(together, polish(method, start, clips, FEW, seed=1).condition)
    alone = polish(method, start[1:2], shown(2), FEW).condition
    torch.testing.assert_close(alone, together[1:2], atol=2e-4, rtol=1e-3)
    one_by_one = polish(method, start, clips, FEW.model_copy(update={"at_once": 1})).condition
    torch.testing.assert_close(one_by_one, together, atol=2e-4, rtol=1e-3)


def test_forgotten_activations_change_nothing(method):
    start = predicted(method, shown(1))
    kept = polish(method, start, shown(1), FEW).condition
    checkpoint_blocks(method.dit, "full")
    try:
        torch.testing.assert_close(polish(method, start, shown(1), FEW).condition, kept)
    finally:
        checkpoint_blocks(method.dit, "none")


def test_a_silent_adapter_is_the_frozen_backbone_and_learns(method):
    silent = method.adapters.silent(predicted(method, shown(1)))
    assert torch.equal(own_loss(method, silent, shown(1)), own_loss(method, silent * 0, shown(1)))
    made = polish(method, silent, shown(1), PolishSettings(steps=12))
    assert own_loss(method, made.condition, shown(1)) < own_loss(method, silent, shown(1))


def test_the_step_that_held_out_draws_like_best_is_kept(method):
    settings = PolishSettings(steps=12, lr=0.3, held_out=4, look_every=2, patience=4)
    start = predicted(method, shown(1, 2))
    made = polish(method, start, shown(1, 2), settings)
    assert (made.held_out.min(dim=0).values < made.held_out[0]).all()
    assert made.steps == tuple((2 * made.held_out.argmin(dim=0)).tolist())
    # What is good already gets worse at such a rate: it ends early, with what it had.
    rash = settings.model_copy(update={"lr": 1.0, "steps": 30})
    again = polish(method, made.condition, shown(1, 2), rash)
    assert len(again.losses) < 30
    assert again.steps == tuple((2 * again.held_out.argmin(dim=0)).tolist())


def test_several_clips_teach_one_adapter(method):
    start = predicted(method, shown(1))
    made = polish(method, start, shown(1, 2), PolishSettings(steps=12), owners=[0, 0])
    both = torch.cat([made.condition] * 2), torch.cat([start] * 2)
    after, before = (own_loss(method, theta, shown(1, 2)) for theta in both)
    assert (after < before).all()


def test_what_is_padding_counts_for_nothing(method):
    clips = shown(1)
    mask = clips.mask.clone()
    mask[:, -1] = mask[..., -2:] = False
    garbage = clips.latents.masked_fill(~mask[:, :, None], 0.0)
    velocity = torch.randn(1, *LATENTS)

    def loss(latents):
        padded = replace(clips, latents=latents, mask=mask)
        return own_losses(lambda *_: velocity, method.dit, padded, torch.tensor([3]), 1.0)

    assert torch.equal(loss(garbage), loss(clips.latents))


def test_what_cannot_be_polished_is_said(method, tiny_folder):
    start = predicted(method, shown(1))
    with pytest.raises(BadBatch, match="first frames"):
        polish(method, start, replace(shown(1), first_frames=torch.zeros(1, 16, 2, 2)), FEW)
    with pytest.raises(BadBatch, match="encode the reference with the backbone"):
        polish(method, start, replace(shown(1), latents=torch.zeros(1, 3, 4, 4, 6)), FEW)
    with pytest.raises(BadBatch, match="2 references cannot be shared out among 1 adapters"):
        polish(method, start, shown(1, 2), FEW)
    with pytest.raises(CannotPolish, match="no finite number at polish step 1"):
        polish(method, start * float("nan"), shown(1), FEW)
    with pytest.raises(CannotPolish, match="no finite number"):
        polish(method, start, replace(shown(1), latents=shown(1).latents / 0), FEW)
    categories = build_method(
        tiny_folder, parse_settings(ADAPTERS | {"kind": "category_lora"}), categories=("melt",)
    )
    known, unknown = categories.condition(References(("melt", "other"))).split(1)
    assert polish(categories, known, shown(1), FEW).steps == (6,)
    with pytest.raises(CannotPolish, match="its category or the model did not train"):
        polish(categories, unknown, shown(1), FEW)


def test_an_adapter_of_rank_two_is_polished_too(tiny_folder):
    method = disturb(build_method(tiny_folder, SMALL.model_copy(update={"rank": 2})))
    start = predicted(method, shown(1))
    made = polish(method, start, shown(1), PolishSettings(steps=12))
    assert own_loss(method, made.condition, shown(1)) < own_loss(method, start, shown(1))
