import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

from training.attention import attention, kernels


def test_matrix_products_give_what_the_fused_kernel_does_and_the_same_gradients():
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=draw, requires_grad=True) for n in (5, 7, 7))
    attend = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    attend[1, :, :, 4:] = False
    for mask in (None, attend):
        found = []
        for compute in (attention, lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask)):
            out = compute(q, k, v, mask)
            found.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v))])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_what_is_masked_does_not_matter():
    q, k, v = torch.randn(3, 1, 1, 4, 8)
    attend = torch.tensor([True, True, False, False])
    out = attention(q, k, v, attend)
    k, v = k.clone(), v.clone()
    k[..., 2:, :] = v[..., 2:, :] = 1e4
    assert torch.equal(attention(q, k, v, attend), out)


def test_a_gpu_tries_cudnn_and_flash_first_and_a_cpu_keeps_torchs_own_order():
    order = torch._C._get_sdp_priority_order
    before = order()
    with kernels(torch.device("cpu")):
        assert order() == before
    with kernels(torch.device("cuda")):
        first, second = order()[:2]
        assert first == int(SDPBackend.CUDNN_ATTENTION)
        assert second == int(SDPBackend.FLASH_ATTENTION)
        # All are still allowed: what cuDNN and flash cannot do, another kernel does.
        q = torch.randn(1, 2, 5, 8)
        torch.testing.assert_close(F.scaled_dot_product_attention(q, q, q), attention(q, q, q))
    assert order() == before
