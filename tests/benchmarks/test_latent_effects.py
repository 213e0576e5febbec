"""The synthetic trial's data: what it claims about categories, and what its broken control changes."""

import torch

from tests.benchmarks import latent_effects as effects


def test_every_region_and_colour_of_an_unseen_category_is_seen_in_another():
    seen = [effects.CATEGORIES[index] for index in effects.SEEN]
    for index in effects.UNSEEN:
        region, colour = effects.CATEGORIES[index]
        assert (region, colour) not in seen
        assert region in {a for a, _ in seen} and colour in {b for _, b in seen}


def test_the_first_frame_does_not_tell_the_effect_and_the_last_one_does():
    first, last = (
        torch.stack([torch.stack([effects.clip(c, n)[at] for n in range(40)]) for c in (0, 5)])
        for at in (0, -1)
    )

    def apart(frames: torch.Tensor) -> float:
        means, noise = frames.mean(dim=1), frames.std(dim=1) / 40**0.5
        return ((means[0] - means[1]).abs() / noise.pow(2).sum(0).sqrt()).mean().item()

    # Half the channels of red and blue differ; the others agree.
    assert apart(first) < 2 < 6 < apart(last)


def test_shuffled_references_change_nothing_but_the_references():
    right, broken = (effects.training_pairs(3, 16, 0, shuffled) for shuffled in (False, True))
    assert torch.equal(right.target_latents, broken.target_latents)
    assert torch.equal(right.sample_seeds, broken.sample_seeds)
    assert not torch.equal(right.references.latents, broken.references.latents)
    categories = [[part.split("-")[0] for part in pair.split("<-")] for pair in right.pair_ids]
    assert all(target == reference for target, reference in categories)


def test_held_out_clips_are_none_that_training_draws_and_the_wrong_reference_is_of_another_category():
    for same, other in effects.held_out_pairs(effects.UNSEEN, count=3, size=4, seed=0):
        assert torch.equal(same.target_latents, other.target_latents)
        for right, wrong in zip(same.pair_ids, other.pair_ids, strict=True):
            target, reference, broken = (
                part.split("-") for part in (*right.split("<-"), wrong.split("<-")[1])
            )
            assert min(int(target[1]), int(reference[1]), int(broken[1])) >= 10**6
            assert target[0] == reference[0] != broken[0]
