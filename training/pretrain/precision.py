"""What the training of small models computes in: bf16 for speed, fp32 where processors have to agree."""

from typing import Literal

import torch

Precision = Literal["bfloat16", "float32"]


def computing(device: torch.device, precision: Precision) -> torch.autocast:
    """A context whose matrix products and convolutions are done in this precision.

    In bf16 processors disagree in the third digit of a product (AMX and AVX512-BF16 round in other places),
    and training carries that on. One that does not know bf16 would take ten times as long as in fp32, and
    computes in that.
    """
    enabled = precision == "bfloat16" and (device.type != "cpu" or _processor_knows_bf16())
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _processor_knows_bf16() -> bool:
    return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
