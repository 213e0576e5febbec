"""A step's figures over all workers: one reduction, one value to wait for."""

import math
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def over_workers(
    measured: Mapping[str, Tensor], squares: Mapping[str, Tensor], asked: bool, device: torch.device
) -> tuple[dict[str, float], bool]:
    """What every worker has to know of a step before it updates the weights; each of them calls it.

    Args:
        measured: means over this worker's samples, fp64 scalars.
        squares: by part, the squared norm of this worker's share of the gradient, fp64 scalars.
        asked: whether this worker knows that the run is to stop.
        device: of the reduction.

    Returns:
        the means, `grad_norm` and `grad_norm/<part>`; and whether a worker was asked.
    """
    names, parts = sorted(measured), sorted(squares)
    values = [measured[name] / dist.get_world_size() for name in names] + [squares[part] for part in parts]
    vector = torch.stack([value.to(device) for value in (*values, torch.tensor(float(asked)).double())])
    dist.all_reduce(vector)
    *sums, stop = vector.tolist()
    norms = dict(zip(parts, sums[len(names) :], strict=True))
    figures = dict(zip(names, sums[: len(names)], strict=True))
    figures["grad_norm"] = math.sqrt(sum(norms.values()))
    return figures | {f"grad_norm/{part}": math.sqrt(square) for part, square in norms.items()}, stop > 0
