"""The HyperNetwork: from the latents of a reference video to the factors of every adapted linear."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.attention import attention
from training.errors import BadMethodSettings

# The adapters of an iteration θ [B, L, values] and its number from 0 → the gradient of a loss in them, alike.
GradientOf = Callable[[Tensor, int], Tensor]


class HyperNetwork(nn.Module):
    """Iterative prediction of LightLoRA factors (Video2LoRA, sec. 3.3).

    f = project(reference latents);  θ⁰ = 0;  θᵏ = θᵏ⁻¹ + head(decoder(embed(θᵏ⁻¹) + layer_position, f))

    The decoder's weights are shared by the `refinements` iterations; θ has one token of `values` numbers per
    adapted linear. With `gradient`, each iteration also sees how a loss changes with θ, and steps along it at
    a learned rate, which begins as 0:

        θᵏ = θᵏ⁻¹ - rateᵏ g + head(decoder(embed(θᵏ⁻¹) + embed_gradient(g) + layer_position, f))

    where g is ∂L/∂θᵏ⁻¹ brought to unit size. At θ = 0 there is none (a product of two zeros), so θ⁰ is then a
    learned adapter with B_pred = 0.

    Args:
        channels: channels of a latent.
        layers: adapted linears, L.
        down_values, up_values: how many of a token's values belong to A_pred and to B_pred.
        width, heads, blocks, refinements: of the decoder.
        patch: latent cells (time, height, width) per video token.
        positions: give the video tokens 3-D positions; without them a shuffled reference predicts the same.
        motion: a token also holds how its cells changed since the first latent frame. The subject and its
            colours cancel in that, and what an effect does stays.
        video_blocks: self-attention blocks in which the video tokens see each other before the decoder looks
            at them; the paper has none.
        gradient: `forward` takes the gradient of a loss in θ.
        identity_start: B_pred is exactly zero before the first step and A_pred a learned constant of norm 1,
            so the adapted network is the frozen one and yet has a gradient.

    Raises:
        BadMethodSettings: a width that the heads do not divide, or too narrow for 3-D positions.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        down_values: int,
        up_values: int,
        width: int = 128,
        heads: int = 4,
        blocks: int = 4,
        refinements: int = 4,
        patch: tuple[int, int, int] = (1, 2, 2),
        positions: bool = True,
        identity_start: bool = True,
        motion: bool = False,
        video_blocks: int = 0,
        gradient: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadMethodSettings(
                f"width {width} is not divisible by {heads} heads: choose a multiple of it."
            )
        if positions and width < 8:
            raise BadMethodSettings(f"width {width} is too narrow for 3-D positions: set it to 8 at least.")
        self.layers, self.down_values, self.up_values = layers, down_values, up_values
        self.refinements, self.patch, self.positions, self.motion = refinements, patch, positions, motion
        self.project = nn.Linear((1 + motion) * channels * math.prod(patch), width)
        self.project_norm = nn.LayerNorm(width)
        self.encoder = nn.ModuleList(VideoBlock(width, heads) for _ in range(video_blocks))
        self.encoder_norm = nn.LayerNorm(width) if video_blocks else nn.Identity()
        self.embed = nn.Linear(down_values + up_values, width)
        self.layer_position = nn.Parameter(torch.randn(layers, width) * 0.02)
        self.decoder = nn.ModuleList(DecoderBlock(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, down_values + up_values)
        if gradient:
            start = torch.zeros(layers, down_values + up_values)
            start[:, :down_values] = F.normalize(torch.randn(down_values), dim=0)
            self.start = nn.Parameter(start)
            self.embed_gradient = nn.Linear(down_values + up_values, width, bias=False)
            self.rate = nn.Parameter(torch.zeros(refinements, down_values + up_values))
        self.gradient = gradient
        if identity_start:
            self._start_at_identity()

    def _start_at_identity(self) -> None:
        constant = torch.randn(self.down_values, device="cpu")
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.zero_()
            if self.gradient:
                return
            # Every iteration adds the head once more: their sum is the constant.
            self.head.bias[: self.down_values] = constant / constant.norm() / self.refinements

    def forward(
        self, reference_latents: Tensor, reference_mask: Tensor, gradient_of: GradientOf | None = None
    ) -> Tensor:
        """Latents [B, F, C, h, w] and mask bool [B, F, h, w] → θ [B, L, values], in the weights' dtype.

        `gradient_of` is needed where the network was built with `gradient`.
        """
        tokens, real = self.video_tokens(reference_latents, reference_mask)
        attend = real[:, None, None, :]
        for block in self.encoder:
            tokens = block(tokens, attend)
        tokens = self.encoder_norm(tokens)
        # The video is the same in every iteration, so each block's keys and values are computed once.
        memory = [block.cross.keys_values(tokens) for block in self.decoder]
        if self.gradient:
            theta = self.start.expand(tokens.shape[0], -1, -1)
        else:
            theta = tokens.new_zeros(tokens.shape[0], self.layers, self.down_values + self.up_values)
        for iteration in range(self.refinements):
            hidden = self.embed(theta) + self.layer_position
            if gradient_of is not None:
                slope = self._of_unit_size(gradient_of(theta, iteration)).to(tokens.dtype)
                hidden = hidden + self.embed_gradient(slope)
                theta = theta - self.rate[iteration] * slope
            for block, (keys, values) in zip(self.decoder, memory, strict=True):
                hidden = block(hidden, keys, values, attend)
            theta = theta + self.head(self.norm(hidden))
        return theta

    def _of_unit_size(self, gradient: Tensor) -> Tensor:
        """The gradient [B, L, values], each adapter's two halves divided by their root mean square."""
        halves = gradient.float().split([self.down_values, self.up_values], dim=-1)
        sizes = (half.square().mean(dim=(1, 2), keepdim=True).sqrt() for half in halves)
        return torch.cat([half / (size + 1e-12) for half, size in zip(halves, sizes, strict=True)], dim=-1)

    def video_tokens(self, latents: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Patches of the latents as tokens [B, n, width], and which of them hold a real cell, bool [B, n]."""
        dtype = self.project.weight.dtype
        # What padding holds never enters, whatever it is.
        if self.motion:
            latents = torch.cat([latents, latents - latents[:, :1]], dim=2)
        cells = latents.masked_fill(~mask[:, :, None], 0).to(dtype).permute(0, 1, 3, 4, 2)
        patches = _patchify(cells, self.patch)
        real = _patchify(mask[..., None], self.patch).flatten(4).any(dim=-1)
        grid = patches.shape[1:4]
        tokens = self.project(patches.flatten(1, 3))
        if self.positions:
            tokens = tokens + positions_3d(grid, tokens.shape[-1], tokens.device).to(dtype)
        return self.project_norm(tokens), real.flatten(1)


class VideoBlock(nn.Module):
    """Pre-norm: self-attention over the video tokens that are real, 4× GELU feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.ff_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.ff = _feed_forward(width)

    def forward(self, tokens: Tensor, attend: Tensor) -> Tensor:
        """tokens [B, n, width]; attend bool [B, 1, 1, n]."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, *self.attention.keys_values(normed), attend)
        return tokens + self.ff(self.ff_norm(tokens))


class DecoderBlock(nn.Module):
    """Pre-norm: self-attention over the weight tokens, cross-attention to the video, 4× GELU feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_norm, self.cross_norm, self.ff_norm = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads)
        self.cross = Attention(width, heads)
        self.ff = _feed_forward(width)

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, attend: Tensor) -> Tensor:
        """hidden [B, L, width]; keys and values of the video [B, heads, n, d]; attend bool [B, 1, 1, n]."""
        normed = self.self_norm(hidden)
        hidden = hidden + self.self_attention(normed, *self.self_attention.keys_values(normed))
        hidden = hidden + self.cross(self.cross_norm(hidden), keys, values, attend)
        return hidden + self.ff(self.ff_norm(hidden))


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be computed once and used again."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_out = nn.Linear(width, width), nn.Linear(width, width)
        # A bias on the keys adds one number to all scores of a query: softmax cancels it and it would never
        # train.
        self.to_k, self.to_v = nn.Linear(width, width, bias=False), nn.Linear(width, width)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, n, width / heads] of a context [B, n, width]."""
        return self._heads(self.to_k(context)), self._heads(self.to_v(context))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, attend: Tensor | None = None) -> Tensor:
        """x [B, m, width] attends where `attend` (bool, broadcast to [B, heads, m, n]) is True."""
        out = attention(self._heads(self.to_q(x)), keys, values, attend)
        return self.to_out(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def positions_3d(grid: tuple[int, int, int], width: int, device: torch.device) -> Tensor:
    """Sines and cosines of (time, height, width) indices for the cells of a grid: fp32 [t·h·w, width].

    A quarter of the width goes to time and three eighths to each axis of the image, in pairs; what is left
    over stays zero.
    """
    time = max(2, width // 4 // 2 * 2)
    image = (width - time) // 2 // 2 * 2
    parts = []
    for axis, (cells, channels) in enumerate(zip(grid, (time, image, image), strict=True)):
        frequencies = torch.exp(torch.arange(0, channels, 2, device=device) * (-math.log(1000.0) / channels))
        angles = torch.arange(cells, device=device, dtype=torch.float32)[:, None] * frequencies
        table = torch.cat([angles.sin(), angles.cos()], dim=-1)
        shape = [1, 1, 1, table.shape[-1]]
        shape[axis] = cells
        parts.append(table.view(shape).expand(*grid, -1))
    table = torch.cat(parts, dim=-1)
    return F.pad(table, (0, width - table.shape[-1])).flatten(0, 2)


def _patchify(cells: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Cells [B, F, h, w, C] → patches [B, F/pt, h/ph, w/pw, pt·ph·pw·C]; ragged edges get zeros."""
    frames, height, width = cells.shape[1:4]
    pt, ph, pw = patch
    # fmt: off
    cells = F.pad(cells, (0, 0, 0, -width % pw, 0, -height % ph, 0, -frames % pt))
    # fmt: on
    cells = cells.unflatten(3, (-1, pw)).unflatten(2, (-1, ph)).unflatten(1, (-1, pt))
    return cells.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
