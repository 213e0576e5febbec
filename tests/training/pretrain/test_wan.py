"""The parts of a small Wan: a VAE that is quick and the same, a text whose padding is given once."""

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

from tests.training.pretrain.test_pretrain import clips
from training.backbones.base import Scene
from training.backbones.wan.conditioning import TEXT_TOKENS, packed, predict_flow
from training.backbones.wan.pixels import encode_condition, encode_video
from training.backbones.wan.small import WanSizes, small_pipeline
from training.pretrain.wan.denoiser import WanDenoiser, start_silent
from training.pretrain.wan.encoded import encode
from training.pretrain.wan.processor import ShortText
from training.pretrain.wan.vae import normalise_latents, quick, start_plain

SIZES = WanSizes(vae_width=8, vae_patch=2, latent_channels=4, layers=2, heads=2, head_dim=16)
TOKENS = 8


@pytest.fixture
def pipeline():
    return small_pipeline(0, SIZES, ["red", "ball"])


@torch.no_grad()
def test_a_quick_vae_computes_the_same(pipeline):
    vae, video = pipeline.vae, clips(1)[0][None]

    def through() -> torch.Tensor:
        return vae.decode(vae.encode(video).latent_dist.mode()).sample

    slow = through()
    with quick(vae):
        torch.testing.assert_close(through(), slow, rtol=1e-4, atol=1e-4)
        assert not torch.equal(through(), slow), "another way"
    assert torch.equal(through(), slow), "and back"


@torch.no_grad()
def test_a_vae_begins_with_frames_that_stand_for_themselves(pipeline):
    vae, video = pipeline.vae, clips(1)[0][None]
    start_plain(vae)
    vae.decoder.conv_out.weight *= 10  # of 1, which is what it began with
    other = video.clone()
    other[:, :, 1:5] = 0
    latents, changed = (vae.encode(each).latent_dist.mode() for each in (video, other))
    same = [torch.equal(latents[:, :, frame], changed[:, :, frame]) for frame in range(3)]
    assert same == [True, False, True]
    seen, now = vae.decode(latents).sample, vae.decode(changed).sample
    assert [torch.equal(seen[:, :, n], now[:, :, n]) for n in range(9)] == [True] + 4 * [False] + 4 * [True]
    assert vae.encode(video).latent_dist.std.mean() < 0.2, "a narrow posterior"


def test_what_is_encoded_is_what_the_backbone_makes_of_a_clip(pipeline):
    vae, videos = pipeline.vae, torch.stack(clips(3))
    normalise_latents(vae, videos, "float32")
    found = encode(vae, videos, range(3), "float32")
    spread, mean = torch.std_mean(found["mean"].float(), dim=(0, 1, 3, 4))
    torch.testing.assert_close(spread, torch.ones(4), rtol=0, atol=0.02)
    torch.testing.assert_close(mean, torch.zeros(4), rtol=0, atol=0.02)
    frames = videos[1].transpose(0, 1)
    theirs = *encode_video(vae, frames), encode_condition(vae, frames[0], 9)
    for name, expected in zip(("mean", "std", "first"), theirs, strict=True):
        torch.testing.assert_close(found[name][1].float(), expected, rtol=0.01, atol=0.01)


@torch.no_grad()
def test_a_text_whose_padding_is_given_once_is_the_padded_one(pipeline):
    denoiser = WanDenoiser(pipeline, TOKENS, "float32")
    transformer = denoiser.transformer
    start_silent(transformer)
    noisy, first = torch.randn(2, 2, 3, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    tokens = denoiser.tokens(["red ball", "a red ball on a ball"])
    images = denoiser.images([np.full((16, 32, 3), shade, dtype=np.uint8) for shade in (20, 200)])
    times = torch.tensor([900.0, 300.0])
    transformer.set_attn_processor(ShortText(denoiser.image_tokens, TEXT_TOKENS - TOKENS))
    silent = denoiser.predict(noisy, first, tokens, times, images)
    assert not silent.any(), "it begins as nothing"
    for number, value in enumerate(transformer.parameters()):
        if not value.any():
            torch.nn.init.normal_(value, std=0.1, generator=torch.Generator().manual_seed(number))
    short = denoiser.predict(noisy, first, tokens, times, images)
    transformer.set_attn_processor(WanAttnProcessor())
    known = tokens != 0
    text = pipeline.text_encoder(tokens, known.long()).last_hidden_state * known[:, :, None]
    states = pipeline.image_encoder(images, output_hidden_states=True).hidden_states[-2]
    scene = Scene(first_frame=torch.stack(list(map(packed, first, states))), text=text)
    torch.testing.assert_close(short, predict_flow(transformer, noisy, scene, times), rtol=1e-3, atol=1e-4)
    short = denoiser.predict(noisy, first, tokens, times, images)
    assert not torch.allclose(short, predict_flow(transformer, noisy, scene, times), atol=1e-2), "it matters"
