"""A lesson without names: the hypernetwork learns to predict what polish found for single clips.

Any clip teaches, of whatever category or none: its latents say what is to be predicted from, its polished
adapter what is to be predicted (the weight-space loss of HyperDreamBooth, 2307.06949, one adapter per clip).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from training.batch import References
from training.methods.base import Method, device_of
from training.pretrain.fit import FitSettings, fit
from training.pretrain.precision import Precision, computing
from training.progress import Progress
from training.randomness import stream

# By their numbers, or by the change of weights B_pred A_pred, which many numbers make alike (both halves with
# their signs turned, one larger and the other smaller).
Compared = Literal["values", "product"]


class BadAdapters(PipelineError):
    """Adapters that no lesson can be made of."""


@dataclass(frozen=True)
class PolishedClips:
    """Clips and what each of them was polished to.

    Attributes:
        latents: [N, F, C, h, w], posterior means, scaled; nothing of them is padding.
        theta: adapters [N, L, r·(a+b)] of the method that learns, fp32.

    Raises:
        BadAdapters: not as many adapters as clips, fewer than two, or some that are no finite numbers.
    """

    latents: Tensor
    theta: Tensor

    def __post_init__(self) -> None:
        if len(self.latents) != len(self.theta) or len(self.theta) < 2:
            raise BadAdapters(
                f"{len(self.latents)} clips and {len(self.theta)} adapters make no lesson: it needs one"
                " adapter for each of two clips or more."
            )
        if not self.theta.isfinite().all():
            raise BadAdapters("Some adapters hold values that are not finite: leave those clips out.")

    def references(self, rows: Sequence[int], device: torch.device) -> References:
        """The clips at `rows`, as what a method is conditioned on."""
        latents = self.latents[list(rows)].to(device).float()
        return References(("",) * len(rows), latents, torch.ones_like(latents[:, :, 0], dtype=torch.bool))


def teach_polished(
    method: Method,
    clips: PolishedClips,
    settings: FitSettings,
    state: Path,
    *,
    batch: int = 32,
    seed: int = 0,
    compared: Compared = "values",
    precision: Precision = "bfloat16",
    progress: Progress | None = None,
) -> float:
    """Train the hypernetwork, and nothing else, to predict the clips' adapters; returns the seconds.

    Args:
        method: Video2LoRA, with the auxiliary matrices under which the adapters were polished.
        settings: how long and how fast.
        state: goes on from it; see `fit`.
        batch: clips of a step.
        compared: how far a prediction is from what is wanted.
    """
    spread = _spread(method, clips.theta, compared)
    device = device_of(method)

    def loss(step: int) -> Tensor:
        rows = stream(step, f"polished clips {seed}").integers(len(clips.theta), size=batch).tolist()
        with computing(device, precision):
            predicted = method.condition(clips.references(rows, device))
        return _distances(method, predicted.float(), clips.theta[rows].to(device), compared).mean() / spread

    return fit(method.hypernetwork, loss, settings, state, progress)


@torch.no_grad()
def unexplained(
    method: Method,
    clips: PolishedClips,
    compared: Compared = "values",
    precision: Precision = "bfloat16",
    at_once: int = 32,
) -> float:
    """The share of the variance between the clips' adapters that the predictions leave: 1 is no better than
    their mean, 0 is exact. Of clips that taught nothing it says what was learned of any clip."""
    device, total = device_of(method), 0.0
    for at in range(0, len(clips.theta), at_once):
        rows = range(at, min(at + at_once, len(clips.theta)))
        with computing(device, precision):
            predicted = method.condition(clips.references(rows, device))
        wanted = clips.theta[list(rows)].to(device)
        total += _distances(method, predicted.float(), wanted, compared).sum().item()
    return total / len(clips.theta) / _spread(method, clips.theta, compared)


def _distances(method: Method, found: Tensor, wanted: Tensor, compared: Compared) -> Tensor:
    """Squared distance of each adapter, fp32 [N], summed over layers."""
    if compared == "values":
        return (found - wanted).square().flatten(1).sum(dim=1)
    found_product, wanted_product = (_product(method, theta) for theta in (found, wanted))
    return (found_product - wanted_product).square().flatten(1).sum(dim=1)


def _spread(method: Method, theta: Tensor, compared: Compared) -> float:
    """Mean squared distance of the adapters from their mean."""
    if compared == "values":
        return _positive((theta - theta.mean(dim=0)).square().flatten(1).sum(dim=1).mean().item())
    total, squares = 0.0, 0.0
    # The products of many adapters are not held together.
    for part in theta.split(64):
        product = _product(method, part)
        total, squares = total + product.sum(dim=0), squares + product.square().sum().item()
    mean = total / len(theta)
    return _positive(squares / len(theta) - mean.square().sum().item())


def _product(method: Method, theta: Tensor) -> Tensor:
    """B_pred A_pred of adapters [N, L, r·(a+b)]: [N, L, b, a]."""
    down, up = method.adapters.split(theta)
    return up @ down


def _positive(spread: float) -> float:
    if spread <= 0:
        raise BadAdapters("All adapters are the same: there is nothing to tell apart. Polish for longer.")
    return spread
