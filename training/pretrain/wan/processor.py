"""Wan's attention for a CPU, over a short text."""

import math

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor

from training.attention import attention


class ShortText:
    """What diffusers' `WanAttnProcessor` computes, with the padding of the text given once.

    Wan's text is padded with zeros to 512 tokens, whose keys and values are all the same. Here it has the
    tokens that may say something and one more, of zeros, which counts as often as it stands there.

    Args:
        image_tokens: that stand before the text.
        repeats: how many tokens of zeros the last one of the text stands for.
    """

    def __init__(self, image_tokens: int, repeats: int) -> None:
        self.image_tokens, self.weight = image_tokens, math.log(repeats)

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Video tokens [B, n, width]; in cross-attention image and text [B, image + T + 1, width]."""
        video = hidden_states
        if encoder_hidden_states is None:
            cosines, sines = (table.transpose(1, 2).to(video.dtype) for table in rotary_emb or ())
            q, k = (
                _rotate(_heads(norm(project(video)), attn), cosines, sines)
                for norm, project in ((attn.norm_q, attn.to_q), (attn.norm_k, attn.to_k))
            )
            found = attention(q, k, _heads(attn.to_v(video), attn))
        else:
            image, text = encoder_hidden_states.tensor_split([self.image_tokens], dim=1)
            q = _heads(attn.norm_q(attn.to_q(video)), attn)
            k, v = _heads(attn.norm_k(attn.to_k(text)), attn), _heads(attn.to_v(text), attn)
            scores = (q * q.size(-1) ** -0.5) @ k.transpose(-1, -2)
            counted = F.pad(scores.new_full((1,), self.weight), (text.size(1) - 1, 0))
            found = (scores + counted).softmax(dim=-1, dtype=scores.dtype) @ v
            seen = _heads(attn.norm_added_k(attn.add_k_proj(image)), attn)
            found = found + attention(q, seen, _heads(attn.add_v_proj(image), attn))
        for layer in attn.to_out:
            found = layer(found.transpose(1, 2).flatten(2) if found.ndim == 4 else found)
        return found


def _heads(x: Tensor, attn: WanAttention) -> Tensor:
    """[B, n, width] → [B, heads, n, d]."""
    return x.unflatten(2, (attn.heads, -1)).transpose(1, 2)


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """x [B, heads, n, d], neighbouring values a pair; tables [1, 1, n, d]."""
    real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cosines + torch.stack([-imaginary, real], dim=-1).flatten(-2) * sines
