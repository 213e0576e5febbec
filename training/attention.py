"""Attention that is quick where it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# In the order of trying: each is passed over where it does not take the shapes, the type or the device.
KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@contextmanager
def kernels(device: torch.device, first: Sequence[str] = tuple(KERNELS)) -> Iterator[None]:
    """Have a GPU compute attention by the first kernel of `first` that can; elsewhere torch's own order.

    It holds for the whole process, so also for the threads of a backward pass: blocks that are computed again
    there need the kernel of their forward pass, or the tensors that they saved do not fit.
    """
    if device.type != "cuda":
        yield
        return
    with sdpa_kernel([KERNELS[name] for name in first], set_priority=True):
        yield


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
