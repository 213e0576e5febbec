"""The parts of a small backbone: the VAE's loss and scale, encoded clips, the denoiser."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.pixels import encode_image, encode_video
from training.backbones.cogvideox.small import BackboneSizes, small_pipeline
from training.backbones.frames import noised_frame
from training.backbones.geometry import SampleGeometry
from training.pretrain.cogvideox.denoiser import CogVideoXDenoiser, start_silent
from training.pretrain.cogvideox.vae import scale_latents, start_plain
from training.pretrain.encoded import EncodedClips
from training.pretrain.fit import FitSettings, fit
from training.pretrain.vae import reconstruction_psnr, vae_loss

SIZES = BackboneSizes(vae_channels=(8, 8, 16), latent_channels=4, patch=4, layers=1, heads=2, head_dim=16)
GEOMETRY = SampleGeometry(num_frames=9, height=16, width=32)


@pytest.fixture
def pipeline():
    return small_pipeline(0, GEOMETRY, 8, SIZES, ["red", "ball"])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(count: int) -> list[torch.Tensor]:
    """Two-coloured pictures whose border wanders: [3, 9, 16, 32] in [-1, 1]."""
    made = []
    for number in range(count):
        draw = torch.Generator().manual_seed(number)
        left, right = torch.rand(2, 3, generator=draw) * 2 - 1
        columns = torch.arange(32)[None] < 8 + torch.arange(9)[:, None] + number % 5
        frame = torch.where(columns[..., None], left, right)
        made.append(frame.permute(2, 0, 1)[:, :, None].expand(3, 9, 16, 32).contiguous())
    return made


def test_the_vae_learns_to_reconstruct(pipeline, tmp_path):
    vae, videos = pipeline.vae, torch.stack(clips(4))
    start_plain(vae)
    before = np.array(reconstruction_psnr(vae, videos, "float32"))
    fit(
        vae,
        lambda step: vae_loss(vae, videos, step, "float32"),
        FitSettings(steps=60, lr=5e-3, warmup=5, ema_decay=0.9),
        tmp_path / "vae.safetensors",
    )
    gained = np.array(reconstruction_psnr(vae, videos, "float32")) - before
    # From other random weights (six seeds) 9.9 to 13.5 dB.
    assert gained.mean() > 5


def test_scaled_latents_have_unit_variance(pipeline):
    videos = clips(3)
    scale_latents(pipeline.vae, videos)
    with torch.no_grad():
        latents = torch.cat([pipeline.vae.encode(v[None]).latent_dist.mode().flatten() for v in videos])
    assert (latents * pipeline.vae.config.scaling_factor).std().item() == pytest.approx(1, rel=0.02)


def test_encoding_that_was_killed_goes_on_with_the_missing_shards(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("training.pretrain.encoded.SHARD", 2)
    videos = torch.stack(clips(5))
    whole = EncodedClips(tmp_path / "whole", "float32")
    whole.fill(pipeline.vae, lambda numbers: videos[list(numbers)], 5)
    asked: list[int] = []

    def dies_at_the_third(numbers: Sequence[int]) -> torch.Tensor:
        asked.extend(numbers)
        if asked == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return videos[list(numbers)]

    again = EncodedClips(tmp_path / "again", "float32")
    with pytest.raises(KeyboardInterrupt):
        again.fill(pipeline.vae, dies_at_the_third, 5)
    again.fill(pipeline.vae, dies_at_the_third, 5)
    assert asked == [0, 1, 2, 3, 2, 3, 4]
    assert torch.equal(again.mean, whole.mean) and torch.equal(again.first, whole.first)


def test_more_clips_than_before_are_all_encoded(pipeline, tmp_path):
    videos = torch.stack(clips(3))
    EncodedClips(tmp_path).fill(pipeline.vae, lambda numbers: videos[list(numbers)], 2)
    assert len(EncodedClips(tmp_path).fill(pipeline.vae, lambda numbers: videos[list(numbers)], 3)) == 3


def test_clips_are_encoded_as_the_backbone_encodes_them_however_many_at_a_time(pipeline, tmp_path):
    videos = torch.stack(clips(3))
    found = EncodedClips(tmp_path, "float32").fill(
        pipeline.vae, lambda numbers: videos[list(numbers)], 3, batch=2
    )
    for number, video in enumerate(videos):
        mean, std = encode_video(pipeline.vae, video.transpose(0, 1))
        first = encode_image(pipeline.vae, noised_frame(video[:, 0], number, 1))
        for ours, wanted in ((found.mean, mean), (found.std, std), (found.first, first)):
            torch.testing.assert_close(ours[number].float(), wanted, rtol=0.01, atol=0.01)


def test_what_is_drawn_is_a_function_of_the_generator(pipeline, tmp_path):
    videos = torch.stack(clips(2))
    encoded = EncodedClips(tmp_path).fill(pipeline.vae, lambda numbers: videos[list(numbers)], 2)
    (first, frames), (second, _), (other, _) = (encoded.draw([1, 0], seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(frames, encoded.first[[1, 0]].float())
    spread = torch.stack([encoded.draw([0], seeded(seed))[0][0] for seed in range(200)])
    torch.testing.assert_close(spread.mean(dim=0), encoded.mean[0].float(), atol=0.5, rtol=0)
    assert spread.std(dim=0).mean().item() == pytest.approx(encoded.std[0].float().mean().item(), rel=0.05)


def test_a_silent_transformer_predicts_nothing_and_learns_all_the_same(pipeline):
    transformer = pipeline.transformer
    start_silent(transformer)
    noisy = torch.randn(1, 3, 4, 4, 8)
    velocity = predict_velocity(transformer, noisy, noisy[:, 0], torch.randn(1, 8, 32), torch.tensor([500]))
    assert not velocity.any()
    (velocity - noisy).square().mean().backward()
    assert transformer.proj_out.weight.grad.any()


def test_the_denoiser_trains_the_dit_and_the_text_encoder(pipeline, tmp_path):
    videos = torch.stack(clips(2))
    encoded = EncodedClips(tmp_path / "latents").fill(pipeline.vae, lambda numbers: videos[list(numbers)], 2)
    denoiser = CogVideoXDenoiser(pipeline, 8)
    tokens = denoiser.tokens(["red ball", ""])
    before = {name: value.detach().clone() for name, value in denoiser.named_parameters()}
    fit(
        denoiser,
        lambda step: denoiser.loss(*encoded.draw([0, 1], seeded(step)), tokens, seeded(step), 4.0),
        FitSettings(steps=3, warmup=1),
        tmp_path / "dit.safetensors",
    )
    moved = {name for name, value in denoiser.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("transformer") for name in moved)
    assert any(name.startswith("text_encoder") for name in moved)
