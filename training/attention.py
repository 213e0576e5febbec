"""Attention that is quick where it runs."""

import torch.nn.functional as F
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d) v of [B, heads, n, d] and [B, heads, m, d]; `attend` is True where it may look.

    On a CPU as matrix products: the fused kernel's backward takes several times as long there with the short
    sequences that a CPU can train on. They hold all n × m scores.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
    scores = (q * q.size(-1) ** -0.5) @ k.transpose(-1, -2)
    if attend is not None:
        scores = scores.masked_fill(~attend, float("-inf"))
    return scores.softmax(dim=-1, dtype=scores.dtype) @ v
