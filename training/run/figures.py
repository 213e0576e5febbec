"""A step's figures over all workers: one reduction, one value to wait for."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def over_workers(
    measured: Mapping[str, Tensor],
    squares: Mapping[str, Tensor],
    flags: Sequence[bool],
    device: torch.device,
) -> tuple[dict[str, float], list[bool]]:
    """What every worker has to know of a step before it updates the weights; each of them calls it.

    Args:
        measured: means over this worker's samples, fp64 scalars.
        squares: by part, the squared norm of this worker's share of the gradient, fp64 scalars.
        flags: what this worker knows and all have to.
        device: of the reduction.

    Returns:
        the means, `grad_norm` and `grad_norm/<part>`; and which flags a worker has raised.
    """
    names, parts = sorted(measured), sorted(squares)
    values = [measured[name] / dist.get_world_size() for name in names] + [squares[part] for part in parts]
    values += [torch.tensor(float(flag)).double() for flag in flags]
    vector = torch.stack([value.to(device) for value in values])
    dist.all_reduce(vector)
    sums = vector.tolist()
    raised = [value > 0 for value in sums[len(names) + len(parts) :]]
    norms = dict(zip(parts, sums[len(names) : len(names) + len(parts)], strict=True))
    figures = dict(zip(names, sums[: len(names)], strict=True))
    figures["grad_norm"] = math.sqrt(sum(norms.values()))
    return figures | {f"grad_norm/{part}": math.sqrt(square) for part, square in norms.items()}, raised
