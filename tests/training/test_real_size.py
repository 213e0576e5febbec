"""CogVideoX-5B-I2V as it is, without weights: everything that its configuration alone decides."""

from functools import cache

import pytest
import torch

from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, VAE_5B_I2V, meta_transformer
from training.backbones.geometry import SampleGeometry
from training.batch import References
from training.methods.base import Method
from training.methods.registry import build_method, parse_settings


@cache
def model(**changes) -> Method:
    with torch.device("meta"):
        return build_method(parse_settings(changes), CogVideoXDiT(meta_transformer(), SCHEDULER_5B_I2V))


def bytes_bf16(tensors) -> int:
    return 2 * sum(tensor.numel() for tensor in tensors)


def test_168_linears_of_width_3072_are_adapted_in_order():
    adapters = model().adapters
    names = [
        f"transformer_blocks.{block}.attn1.{linear}"
        for block in range(42)
        for linear in ("to_q", "to_k", "to_v", "to_out.0")
    ]
    assert list(adapters.layers) == names
    assert len(names) == 168
    assert {(x.base.in_features, x.base.out_features) for x in adapters.layers.values()} == {(3072, 3072)}


def test_an_adapter_is_25200_values_and_50400_bytes():
    method = model()
    values = len(method.adapters) * method.adapters.values_per_layer
    assert values == 25_200
    assert 2 * values == 50_400 < 50 * 1024
    batch = torch.empty(2, 13, 16, 60, 90, device="meta")
    mask = torch.ones(2, 13, 60, 90, dtype=torch.bool, device="meta")
    theta = method.condition(References(("", ""), batch, mask))
    assert theta.shape == (2, 168, 150)


def test_the_auxiliary_matrices_are_77_million_values_and_155_megabytes():
    auxiliary = model().adapters.parameters()
    assert sum(tensor.numel() for tensor in auxiliary) == 77_414_400
    assert bytes_bf16(auxiliary) == 154_828_800
    assert bytes_bf16(auxiliary) < 150 * 1024**2


def test_the_model_file_is_at_most_158_megabytes_and_110_with_shared_matrices():
    assert bytes_bf16(model().trainable_state().values()) < 158e6
    shared = model(share_qkv_down=True)
    saved = bytes_bf16(model().adapters.parameters()) - bytes_bf16(shared.adapters.parameters())
    assert saved == 2 * 42 * 2 * 100 * 3072 == 51_609_600
    assert bytes_bf16(shared.trainable_state().values()) < 110e6


@pytest.mark.parametrize(("down", "up", "values"), [(60, 30, 15_120), (100, 50, 25_200), (160, 80, 40_320)])
def test_the_sizes_of_the_papers_ablation_follow_from_the_settings(down, up, values):
    method = model(down_size=down, up_size=up)
    assert len(method.adapters) * method.adapters.values_per_layer == values
    assert sum(tensor.numel() for tensor in method.adapters.parameters()) == 168 * 3072 * (down + up)


def test_a_full_reference_makes_17550_video_tokens():
    assert SampleGeometry().latent_shape(VAE_5B_I2V) == (13, 16, 60, 90)
    latents = torch.empty(1, 13, 16, 60, 90, device="meta")
    tokens, real = model().hypernetwork.video_tokens(latents, torch.ones_like(latents[:, :, 0]).bool())
    assert tokens.shape[1] == real.shape[1] == 17_550


def test_nothing_but_the_hypernetwork_and_the_auxiliary_matrices_trains():
    method = model()
    frozen = sum(value.numel() for value in method.parameters() if not value.requires_grad)
    assert 5.4e9 < frozen < 5.7e9
    assert all(
        "base" in n or "down_aux" not in n for n, v in method.named_parameters() if not v.requires_grad
    )
