"""The weight-space lesson: predictions are held against adapters that somebody found, without a pass of the
frozen model (HyperDreamBooth, 2307.06949)."""

from torch import Tensor


def unexplained(predicted: Tensor, wanted: Tensor, spread: float | Tensor) -> Tensor:
    """How much of the variance between adapters the predictions leave unexplained, a scalar with gradient.

    0 where each is what is wanted, 1 where all are their mean; more where they are further off.

    Args:
        predicted, wanted: θ [B, L, r·(a+b)].
        spread: mean squared distance of all that is ever wanted from its mean, of each value.
    """
    return (predicted.float() - wanted.float()).square().mean() / spread
