import torch
from torch import nn

from tests.training.small_backbones import LATENTS, load_backbone
from training.backbones.cogvideox.patches import PatchProjection


def convolution(size: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(16, 32, size, stride=size)


def test_it_is_the_convolution():
    images = torch.randn(3, 16, 8, 12)
    for size in (2, 4):
        conv = convolution(size)
        torch.testing.assert_close(PatchProjection(conv)(images), conv(images), atol=1e-5, rtol=1e-5)


def test_in_bf16_every_pixel_counts():
    conv = convolution(4)
    images = torch.randn(3, 16, 8, 12)
    with torch.autocast("cpu", torch.bfloat16):
        half = PatchProjection(conv)(images).float()
    assert (half - conv(images)).square().mean() < 1e-4 * conv(images).square().mean()


def test_a_loaded_backbone_has_it_and_saves_what_a_convolution_can_load(tiny_folder):
    transformer = load_backbone(tiny_folder).transformer
    assert isinstance(transformer.patch_embed.proj, PatchProjection)
    weight = transformer.state_dict()["patch_embed.proj.weight"]
    assert weight.ndim == 4 and weight.shape[1] == 2 * LATENTS[1]
