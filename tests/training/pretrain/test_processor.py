"""Attention as plain matrix products is diffusers' own attention."""

import pytest
import torch

from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.small import BackboneSizes, small_pipeline
from training.backbones.geometry import SampleGeometry
from training.pretrain.cogvideox.processor import PlainAttention

SIZES = BackboneSizes(vae_channels=(8, 8, 16), latent_channels=4, patch=4, layers=2, heads=2, head_dim=16)


@pytest.mark.parametrize("rotary", [True, False])
def test_it_computes_what_the_fused_kernel_does_with_the_same_gradients(rotary):
    transformer = small_pipeline(0, SampleGeometry(9, 16, 32), 8, SIZES, ["red"]).transformer
    transformer.register_to_config(use_rotary_positional_embeddings=rotary)
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 3, 4, 4, 8, generator=draw)
    text = torch.randn(2, 8, 32, generator=draw)
    found = []
    for _ in range(2):
        transformer.zero_grad()
        velocity = predict_velocity(transformer, noisy, noisy[:, 0], text, torch.tensor([10, 900]))
        velocity.square().mean().backward()
        found.append([velocity.detach(), *(p.grad for p in transformer.parameters() if p.grad is not None)])
        transformer.set_attn_processor(PlainAttention())
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(plain, fused, atol=2e-5, rtol=1e-3)
