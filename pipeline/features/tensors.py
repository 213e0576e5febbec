"""bfloat16 tensors as raw little-endian bytes: how latents and text embeddings lie in the catalogue."""

import sys
from collections.abc import Sequence

import numpy as np
import torch

from pipeline.errors import PipelineError


class TornTensor(PipelineError):
    """Stored bytes do not fill the shape stored beside them."""


def to_bytes(tensor: torch.Tensor) -> bytes:
    """The values of `tensor` rounded to bfloat16, row-major, two bytes each."""
    values = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
    return values.astype("<i2", copy=False).tobytes()


def from_bytes(data: bytes | memoryview, shape: Sequence[int]) -> torch.Tensor:
    """The bfloat16 tensor of `shape` that `to_bytes` wrote; it owns its memory.

    Raises:
        TornTensor: the number of bytes is not two times the product of `shape`.
    """
    wanted = 2 * int(np.prod(shape, dtype=np.int64))
    if len(data) != wanted:
        raise TornTensor(
            f"A stored tensor of shape {list(shape)} should be {wanted} bytes and is {len(data)}. "
            "Encode the clip again with `video2lora encode --again`."
        )
    values = np.frombuffer(data, dtype="<i2")
    native = values.astype(np.int16) if sys.byteorder == "big" else values.copy()
    return torch.from_numpy(native).view(torch.bfloat16).reshape(tuple(shape))
