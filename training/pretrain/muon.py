"""Muon for many small matrices: PyTorch's, computed for all of a shape at once, and on a CPU in fp32."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor


class Muon(torch.optim.Muon):
    """Muon (Jordan, 2024) at the scale under which it takes AdamW's rates (2502.16982).

    PyTorch's own orthogonalises in bf16 whatever the weights are. On a CPU without bf16 that takes several
    times as long as the rest of a training step, and on those that have it each rounds in other places.
    """

    def __init__(self, weights: list[torch.nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(weights, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step, from the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape, weight.device].append(weight)
            for (shape, _), weights in alike.items():
                update = orthogonal(self._nesterov(weights, group["momentum"]), group)
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                torch._foreach_add_(weights, list(update.to(weights[0].dtype).unbind()), alpha=-rate)
        return loss

    def _nesterov(self, weights: list[Tensor], momentum: float) -> Tensor:
        """The averaged gradients of weights of one shape, looked ahead by a step: [n, rows, columns]."""
        gradients = [weight.grad for weight in weights]
        averages = []
        for weight in weights:
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            averages.append(state["momentum_buffer"])
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch.stack(torch._foreach_lerp(gradients, averages, momentum))


def orthogonal(matrices: Tensor, group: dict) -> Tensor:
    """Matrices [n, rows, columns] with all their singular values near 1, by the Newton-Schulz iteration whose
    coefficients and number of steps are those of a Muon's parameter group."""
    a, b, c = group["ns_coefficients"]
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
