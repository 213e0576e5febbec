from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small import small_batch, small_module
from tests.training.small_backbones import LATENTS, random_batch, random_sample
from training.backbones.geometry import SampleGeometry
from training.batch import collate, pad_reference
from training.errors import BadBatch, InvalidGeometry


def test_samples_stack_in_their_order():
    batch = random_batch(3, 1, 2)
    assert len(batch) == 3
    assert batch.sample_seeds.tolist() == [3, 1, 2]
    assert batch.pair_ids[0] == "target3<-reference3"
    assert torch.equal(batch.target_latents[1], random_sample(1).target_latents)
    assert batch.references.mask.shape == (3, LATENTS[0], *LATENTS[2:])


def test_moving_a_batch_casts_floating_tensors_alone():
    batch = random_batch(1, 2).to("cpu", torch.bfloat16)
    assert batch.target_latents.dtype == batch.text_embeddings.dtype == torch.bfloat16
    assert batch.references.mask.dtype == torch.bool
    assert batch.sample_seeds.dtype == torch.int64


def test_a_batch_that_was_made_ready_has_the_noise_and_the_loss_of_one_that_draws_in_the_step():
    batch = small_batch([1, 2])
    ready = batch.ready()
    plain, prepared = small_module(), small_module()
    assert ready.noise.dtype == ready.to("cpu", torch.bfloat16).noise.dtype == torch.float32
    assert torch.equal(plain(batch).loss, prepared(ready).loss)
    assert torch.equal(ready.select([1]).noise, small_batch([2]).ready().noise)
    other = replace(ready, noise=torch.zeros_like(ready.noise))
    assert not torch.equal(plain(other).loss, plain(batch).loss)


@pytest.mark.parametrize(
    "change",
    [
        {"reference_latents": torch.zeros(4, *LATENTS[1:])},
        {"reference_mask": torch.zeros(1, 2, 3, dtype=torch.bool)},
        {"first_frame_latents": torch.zeros(1)},
        {"text_embeddings": torch.zeros(9, 32)},
        {"reference_mask": torch.zeros(LATENTS[0], *LATENTS[2:], dtype=torch.bool)},
    ],
)
def test_a_sample_that_does_not_fit_is_named(change):
    with pytest.raises(BadBatch, match="target2"):
        collate([random_sample(1), replace(random_sample(2), **change)])


def test_an_empty_batch_is_refused():
    with pytest.raises(BadBatch, match="at least one"):
        collate([])


def test_a_short_reference_is_padded_with_zeros_that_the_mask_names():
    padded, mask = pad_reference(torch.ones(2, 16, 3, 6), LATENTS)
    assert padded.shape == LATENTS
    assert mask.sum() == 2 * 3 * 6
    assert torch.equal(padded[:, 0].bool(), mask)
    with pytest.raises(BadBatch, match="do not fit"):
        pad_reference(torch.ones(5, 16, 4, 6), LATENTS)


@given(frames=st.integers(-3, 200), height=st.integers(-20, 800), width=st.integers(-20, 800))
def test_a_geometry_is_valid_or_says_what_would_be(frames, height, width):
    try:
        geometry = SampleGeometry(frames, height, width)
    except InvalidGeometry as error:
        advice = int(str(error).rstrip(".").rpartition(" ")[2])
        if "frames" in str(error):
            SampleGeometry(advice)
        else:
            assert advice % 16 == 0
    else:
        assert geometry.num_frames % 4 == 1
        assert not (geometry.height % 16 or geometry.width % 16)
