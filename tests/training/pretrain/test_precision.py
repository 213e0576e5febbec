"""What small models are trained in: bf16 where the processor knows it."""

import pytest
import torch

from training.pretrain.precision import computing


def product(precision: str) -> torch.dtype:
    with computing(torch.device("cpu"), precision):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    ("knows", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, torch.float32),
    ],
)
def test_a_processor_without_bf16_computes_in_fp32(monkeypatch, knows, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: knows)
    assert product("bfloat16") == expected
    assert product("float32") == torch.float32
