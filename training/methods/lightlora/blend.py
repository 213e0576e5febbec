"""Adapters added up: what several references have in common, more or less of an effect, or its opposite.

The residual of a sum is the sum of the residuals, exactly: W + Σ wᵢ · s · B_aux B_predᵢ A_predᵢ A_aux, which
has the rank of all of them together. To add up the predictions themselves would not give that: A_pred and
B_pred are


factors of one product, so that a mean of θ has cross terms, and -A_pred, -B_pred is the same adapter as
A_pred, B_pred.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.lightlora.export import factors_of
from training.methods.lightlora.layers import Factors, LightLoRA


@torch.no_grad()
def blended(
    adapters: LightLoRA, conditions: Sequence[Tensor | Factors], weights: Sequence[float]
) -> Tensor | Factors:
    """The weighted sum of adapters: θ [1, L, R·(a+b)], R the sum of their ranks, or factors.

    Args:
        conditions: θ [1, L, r·(a+b)] each, or factors.
        weights: one each, of any sign.

    Raises:
        BadMethodSettings: an adapter of another model.
    """
    thetas = [each for each in conditions if isinstance(each, Tensor)]
    if len(thetas) == len(conditions):
        downs, ups = zip(*map(adapters.split, thetas), strict=True)
        weighted_ups = [weight * up for weight, up in zip(weights, ups, strict=True)]
        return adapters.joined(torch.cat(downs, dim=2), torch.cat(weighted_ups, dim=3))
    parts = [each if isinstance(each, Factors) else factors_of(adapters, each) for each in conditions]
    together = {}
    for linear in dict.fromkeys(name for part in parts for name in part.by_linear):
        weighted = [
            (part.by_linear[linear], weight)
            for part, weight in zip(parts, weights, strict=True)
            if linear in part.by_linear
        ]
        down = torch.cat([factors[0] for factors, _ in weighted])
        up = torch.cat([weight * factors[1] for factors, weight in weighted], dim=1)
        together[linear] = (down, up)
    return Factors(together)


@torch.no_grad()
def reduced(adapters: LightLoRA, theta: Tensor, rank: int) -> tuple[Tensor, float]:
    """The adapter of at most that rank whose residuals are nearest to those of θ [1, L, R·(a+b)].

    Nearest by the Frobenius norm of each linear's residual, by a singular value decomposition of what is
    between the auxiliary matrices.

    Returns:
        θ [1, L, rank·(a+b)], and the share of the squared norm of all residuals that it keeps, 0 to 1.
    """
    down, up = adapters.split(theta.double().to(adapters.device))
    if down.shape[2] <= rank:
        return theta, 1.0
    kept = total = 0.0
    downs, ups = [], []
    for index, layer in enumerate(adapters.layers.values()):
        _, left = torch.linalg.qr(layer.up_aux.double())
        _, right = torch.linalg.qr(layer.down_aux.double().T)
        u, values, v = torch.linalg.svd(left @ up[0, index] @ down[0, index] @ right.T, full_matrices=False)
        root = values[:rank].sqrt()
        ups.append(torch.linalg.solve(left, u[:, :rank] * root))
        downs.append(torch.linalg.solve(right, (root[:, None] * v[:rank]).T).T)
        kept, total = kept + float((values[:rank] ** 2).sum()), total + float((values**2).sum())
    nearest = adapters.joined(torch.stack(downs)[None], torch.stack(ups)[None])
    return nearest.to(theta), kept / total if total else 1.0
