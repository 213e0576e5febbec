"""The DiT's patch embedding as a matrix product."""

from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, nn
from torch.nn import functional as F


class PatchProjection(nn.Module):
    """What a convolution does whose stride is its kernel size, with the convolution's own parameters.

    On processors with AMX, torch 2.15 computes such a convolution wrongly in bf16: with kernels of 4 × 4 it
    leaves out every second column of the input, silently. A matrix product is right everywhere and as fast.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.size = convolution.kernel_size[0]
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, h, w] → [N, width, h / size, w / size]."""
        patches = images.unflatten(3, (-1, self.size)).unflatten(2, (-1, self.size)).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def project_patches(transformer: CogVideoXTransformer3DModel) -> CogVideoXTransformer3DModel:
    """Put a `PatchProjection` in the place of the transformer's convolution; returns the transformer."""
    transformer.patch_embed.proj = PatchProjection(transformer.patch_embed.proj)
    return transformer
