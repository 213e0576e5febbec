"""What the training of small models computes in: bf16 for speed, fp32 where processors have to agree."""

from typing import Literal

import torch

Precision = Literal["bfloat16", "float32"]


def computing(device: torch.device, precision: Precision) -> torch.autocast:
    """A context whose matrix products and convolutions are done in this precision.

    In bf16 processors disagree in the third digit of a product (AMX, AVX512-BF16 and emulation round in other
    places), and training carries that on; a processor without bf16 is also slower in it than in fp32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
