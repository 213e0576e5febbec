"""References in the context: what reaches what, where they stand in time, and what they cannot change."""

from dataclasses import replace

import pytest
import torch

from tests.training.small import TOKENS
from tests.training.small_backbones import build_method, load_backbone, random_batch
from training.backbones.base import Scene
from training.batch import References, TrainingBatch
from training.errors import BadBatch, BadMethodSettings
from training.methods.base import Method
from training.methods.registry import parse_settings

BLOCKS = 4


def settings(**changes):
    return parse_settings({"kind": "video_as_prompt", "references": 3} | changes)


@pytest.fixture
def batch() -> TrainingBatch:
    return random_batch(1, 2)


@pytest.fixture
def method(tiny_folder) -> Method:
    return build_method(tiny_folder, settings())


@torch.no_grad()
def predicted(method: Method, batch: TrainingBatch, references: References | None) -> torch.Tensor:
    with method.under(references) as velocity:
        return velocity(batch.target_latents, torch.tensor([700, 300]), batch.scene)


def changed(batch: TrainingBatch, **tensors) -> References:
    return replace(batch.references, **tensors)


def test_without_references_the_frozen_backbone_is_bit_equal(tiny_folder, method, batch):
    bare = load_backbone(tiny_folder).dit.velocity(
        batch.target_latents, torch.tensor([700, 300]), batch.scene
    )
    assert torch.equal(predicted(method, batch, None), bare)
    assert not torch.allclose(predicted(method, batch, batch.references), bare, atol=1e-3)


def test_every_expert_begins_as_its_block(method, batch):
    tokens, text = torch.randn(2, 12, 128), torch.randn(2, TOKENS, 128)
    time = torch.randn(2, 64)
    for layer in range(BLOCKS - 1):
        joint = method.dit.blocks[layer]
        for name in ("norm1", "norm2"):
            own, copied = getattr(joint.block, name), getattr(joint.expert, name)
            for a, b in zip(own(tokens, text, time), copied(tokens, text, time), strict=True):
                assert torch.equal(a, b)
        for a, b in zip(joint.block.attn1(tokens, text), joint.expert.attn1(tokens, text), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(joint.block.ff(tokens), joint.expert.ff(tokens))
    assert not hasattr(method.dit.blocks[BLOCKS - 1], "expert")


def test_a_reference_that_is_the_target_itself_is_carried_exactly_as_the_target_is(tiny_folder, batch):
    """One attention over both: with a copy of each layer and no positions, one stream is the other."""
    method = build_method(tiny_folder, settings(expert_layers=tuple(range(BLOCKS))))
    method.dit.rotary = lambda *args, **options: None
    references = References(
        ("", ""),
        batch.target_latents,
        None,
        batch.first_frame_latents[:, None],
        batch.text_embeddings[:, None],
    )
    seen = []
    for layer in range(BLOCKS - 1):
        method.dit.blocks[layer].register_forward_hook(lambda _, __, out: seen.append(out))
    predicted(method, batch, references)
    assert len(seen) == BLOCKS - 1
    for video, text, reference_video, reference_text in seen:
        torch.testing.assert_close(reference_video, video, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(reference_text, text, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_references_stand_before_the_target_in_time_the_first_one_farthest(method, count):
    """cos and sin of t · 10000^(-2i/d) for exact integers t = -nT … -1; rows and columns as the target's."""
    frames, height, width, head = 3, 4, 6, 32
    shape = (frames, 16, height, width)
    cosines, sines = method._rotary(count, shape, torch.device("cpu"))
    own_cosines, own_sines = method.dit.rotary(shape, torch.device("cpu"))
    cells, quarter = (height // 2) * (width // 2), head // 4
    times = torch.arange(-count * frames, 0, dtype=torch.float64).repeat_interleave(cells)
    frequencies = 10000.0 ** (-torch.arange(0, quarter, 2, dtype=torch.float64) / quarter)
    angles = torch.outer(times, frequencies).repeat_interleave(2, dim=1)
    torch.testing.assert_close(cosines[:, :quarter].double(), angles.cos(), rtol=0, atol=1e-6)
    torch.testing.assert_close(sines[:, :quarter].double(), angles.sin(), rtol=0, atol=1e-6)
    for ours, targets in ((cosines, own_cosines), (sines, own_sines)):
        assert torch.equal(ours[:, quarter:], targets[:, quarter:].repeat(count, 1))


@pytest.mark.parametrize("name", ["latents", "first_frames", "texts"])
def test_another_reference_is_another_prediction_and_of_its_own_sample_only(method, batch, name):
    plain = predicted(method, batch, batch.references)
    value = getattr(batch.references, name).clone()
    value[1] = torch.randn(value[1].shape)
    other = predicted(method, batch, changed(batch, **{name: value}))
    torch.testing.assert_close(other[0], plain[0], rtol=1e-5, atol=1e-5)
    assert (other[1] - plain[1]).abs().max() > 1e-3


def test_a_reference_shuffled_in_time_or_space_is_another_one(method, batch):
    plain = predicted(method, batch, batch.references)
    for shuffled in (batch.references.latents.flip(1), batch.references.latents.flip(4)):
        assert (predicted(method, batch, changed(batch, latents=shuffled)) - plain).abs().max() > 1e-3


def test_several_references_count_each_and_in_their_order(method, batch):
    def joined(*rows: References) -> References:
        return References(
            ("", ""),
            torch.cat([r.latents for r in rows], dim=1),
            torch.cat([r.mask for r in rows], dim=1),
            torch.cat([r.first_frames for r in rows], dim=1),
            torch.cat([r.texts for r in rows], dim=1),
        )

    one, two = batch.references, random_batch(5, 6).references
    both, turned = predicted(method, batch, joined(one, two)), predicted(method, batch, joined(two, one))
    assert (both - turned).abs().max() > 1e-3
    assert (both - predicted(method, batch, one)).abs().max() > 1e-3


def test_what_stands_in_the_padding_of_a_reference_changes_nothing(method, batch):
    mask = batch.references.mask.clone()
    mask[:, 2:] = False
    outside = ~mask[:, :, None].expand_as(batch.references.latents)
    padded = changed(batch, mask=mask, padded=True)
    quiet = replace(padded, latents=batch.references.latents.masked_fill(outside, 0))
    noisy = replace(padded, latents=batch.references.latents.masked_fill(outside, 1e3))
    plain = predicted(method, batch, quiet)
    torch.testing.assert_close(predicted(method, batch, noisy), plain, rtol=1e-4, atol=1e-5)
    assert (predicted(method, batch, replace(quiet, mask=torch.ones_like(mask))) - plain).abs().max() > 1e-3


def test_references_see_the_target_and_the_text_stream_passes_untouched_where_there_is_no_expert(
    tiny_folder, batch
):
    """Experts in blocks 1 and 2 of 4: block 0 is the frozen one's, to the last bit, block 1 reads both."""
    method = build_method(tiny_folder, settings(expert_layers=(1, 2)))
    seen: dict[int, tuple] = {}
    for layer, block in enumerate(method.dit.blocks):
        block.register_forward_hook(lambda _, __, out, layer=layer: seen.update({layer: out}))

    def run(batch: TrainingBatch, references: References | None) -> dict[int, tuple]:
        seen.clear()
        predicted(method, batch, references)
        return dict(seen)

    bare, beside = run(batch, None), run(batch, batch.references)
    assert all(torch.equal(a, b) for a, b in zip(beside[0], bare[0], strict=True))
    assert len(beside[1]) == 4 and len(beside[3]) == 2
    assert (beside[1][1] - bare[1][1]).abs().max() > 1e-3
    other = run(replace(batch, target_latents=torch.randn_like(batch.target_latents)), batch.references)
    assert (other[1][2] - beside[1][2]).abs().max() > 1e-3
    # Nothing reads the stream after the last expert, so it is passed on as it came.
    assert torch.equal(beside[2][2], beside[1][2])


def test_the_unconditional_half_keeps_the_reference_and_loses_both_captions(method, batch):
    negative = torch.randn_like(batch.text_embeddings)
    twice = Scene(
        torch.cat([batch.first_frame_latents] * 2), torch.cat([negative, batch.text_embeddings]), negatives=2
    )
    times = torch.tensor([700, 300])
    with torch.no_grad(), method.under(batch.references) as velocity:
        both = velocity(torch.cat([batch.target_latents] * 2), times.repeat(2), twice)
    unprompted = replace(batch, text_embeddings=negative)
    expected = predicted(method, unprompted, changed(batch, texts=negative[:, None]))
    torch.testing.assert_close(both[:2], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[2:], predicted(method, batch, batch.references), rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_targets_alone_and_every_trainable_tensor_hears_of_it(method, batch):
    method(batch).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().max() > 0) == parameter.requires_grad, (
            name
        )
    last = method.dit.blocks[BLOCKS - 2].expert
    assert not last.ff.net[2].weight.requires_grad and not last.attn1.to_q.weight.requires_grad
    condition = method.condition(batch.references)
    mean = method.sample_losses(batch, condition).mean()
    torch.testing.assert_close(mean, method(batch).loss)


def test_bad_references_and_layers_are_one_sentence(tiny_folder, method, batch):
    with pytest.raises(BadBatch, match="caption"):
        method.condition(changed(batch, texts=None))
    many = batch.references.first_frames.repeat(1, 4, 1, 1, 1)
    with pytest.raises(BadBatch, match=r"4 references, and this model takes at most 3\. Name fewer"):
        method.condition(changed(batch, first_frames=many))
    with pytest.raises(BadMethodSettings, match="names block 4, and this backbone has 0 to 3"):
        build_method(tiny_folder, settings(expert_layers=(0, 4)))
    with pytest.raises(BadMethodSettings, match="expert_layers"):
        build_method(tiny_folder, settings(expert_layers=()))
