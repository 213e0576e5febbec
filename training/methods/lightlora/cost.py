"""What LightLoRA residuals cost."""

from collections.abc import Iterable


def residual_flops(linears: Iterable[tuple[int, int]], tokens: int, rank: int, down: int, up: int) -> float:
    """Forward and backward of one sample's residuals.

    Args:
        linears: (in, out) of each adapted linear.
        tokens: that pass through each.
        rank, down, up: r, a and b.
    """
    return 3.0 * sum(
        2 * tokens * rank * (wide_in + wide_out) + 2 * rank * (wide_in * down + wide_out * up)
        for wide_in, wide_out in linears
    )
