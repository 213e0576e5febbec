"""Polish: adapters fitted to their own references, from a prediction on or from anything else.

N steps of Adam on the adapters alone, by the plain diffusion loss on the references themselves; the
auxiliary matrices, the hypernetwork and the backbone stay as they are. Any number of adapters is polished
together, each as if it were alone: a step costs `batch_size` forward and backward passes for each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.errors import BadBatch, BadMethodSettings, TrainingError
from training.methods.base import Condition, Method, device_of, dtype_of
from training.methods.own_loss import OwnClips, own_losses
from training.progress import Progress
from training.randomness import derive, noise_of
from training.settings import PolishSettings


class CannotPolish(TrainingError):
    """Adapters that no step can better: no gradient, or a loss that is no number."""


@dataclass(frozen=True)
class Polished:
    """What became of B adapters.

    Attributes:
        condition: the polished adapters, fp32 [B, …]; what the method denoises under.
        losses: fp32 [steps, B] on the CPU, the loss of each step before it was taken.
        held_out: fp32 [looks, B] on the CPU, the loss on held-out draws at the start and then at each look.
        steps: after how many steps each adapter was taken.
    """

    condition: Tensor
    losses: Tensor
    held_out: Tensor
    steps: tuple[int, ...]


def polish(
    method: Method,
    start: Condition,
    clips: OwnClips,
    settings: PolishSettings,
    *,
    seed: int = 0,
    owners: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Polished:
    """Fit adapters to their references.

    What an adapter becomes depends on its start, its references, the settings and the seed, not on what is
    polished beside it. Precision is the caller's (`torch.autocast`), as are checkpointed blocks
    (`training.run.activations.checkpoint_blocks`).

    Args:
        method: whose adapters they are; nothing in it changes.
        start: adapters [B, …], of `Method.condition` or of whatever else has that shape.
        clips: the references, R of them, anywhere.
        settings: how long and how fast; 0 steps give the start back, bit for bit.
        seed: of the noises and timesteps.
        owners: of each clip, the adapter that learns from it; None: clip n belongs to adapter n.
        progress: called after every step with (step, steps, {"loss": mean over the adapters}).

    Raises:
        BadBatch: references that do not fit the backbone, one another, or the adapters.
        BadMethodSettings: what the method makes of references is no adapter.
        CannotPolish: an adapter without a gradient, or a loss that is no finite number.
    """
    if not isinstance(start, Tensor):
        raise BadMethodSettings(
            f"{method.settings.kind} makes no adapter that could be polished: set generate.polish.steps=0."
        )
    theta = start.detach().clone()
    count = len(theta)
    nothing = torch.zeros(0, count)
    if settings.steps == 0:
        return Polished(theta, nothing, nothing, (0,) * count)
    clips.require_for(method.dit)
    draws = _Draws(clips.to(device_of(method), dtype_of(method)), _shared_out(len(clips), owners, count))
    theta = theta.float().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=settings.lr)
    keep = _Best(method, draws, settings, seed) if settings.held_out else None
    losses = []
    if keep is not None:
        keep.look(theta, 0)
    for step in range(settings.steps):
        done = step / max(1, settings.steps - 1)
        optimizer.param_groups[0]["lr"] = settings.lr * (1 - (1 - settings.last_lr) * done)
        wanted = [f"polish {step} {draw}" for draw in range(settings.batch_size)]
        found, theta.grad = draws.losses(method, theta, wanted, step * settings.batch_size, settings, seed)
        losses.append(found.cpu())
        _require_sense(losses[-1], theta.grad, step, settings)
        optimizer.step()
        if progress is not None:
            progress(step + 1, settings.steps, {"loss": losses[-1].mean().item()})
        if keep is not None and ((step + 1) % settings.look_every == 0 or step + 1 == settings.steps):
            keep.look(theta, step + 1)
            if keep.stale(step + 1):
                break
    if keep is None:
        return Polished(theta.detach(), torch.stack(losses), nothing, (len(losses),) * count)
    return Polished(keep.theta, torch.stack(losses), torch.stack(keep.looks), tuple(keep.steps.tolist()))


def _shared_out(clips: int, owners: Sequence[int] | None, adapters: int) -> list[list[int]]:
    """The clips that each adapter learns from."""
    owners = range(clips) if owners is None else owners
    shares = [[clip for clip, owner in enumerate(owners) if owner == adapter] for adapter in range(adapters)]
    if len(owners) != clips or sum(map(len, shares)) != clips or not all(shares):
        raise BadBatch(
            f"{clips} references cannot be shared out among {adapters} adapters by {len(owners)} owners: each"
            " reference needs one of the adapters, and each adapter a reference."
        )
    return shares


@dataclass(frozen=True)
class _Draws:
    """References under noise: the same noises and timesteps for every adapter, each on its own clips."""

    clips: OwnClips
    shares: list[list[int]]

    def losses(
        self,
        method: Method,
        theta: Tensor,
        purposes: Sequence[str],
        first: int,
        settings: PolishSettings,
        seed: int,
        gradient: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Mean loss of each adapter over draws named by `purposes`, fp32 [B], and its gradient in θ [B, …].

        An adapter's clips take turns; draw n of a run (`first` + its place) is of clip n mod their number.
        """
        seeds = torch.tensor([derive(seed, purpose) for purpose in purposes])
        noise = noise_of(seeds, self.clips.latents.shape[1:]).to(theta.device)
        total = torch.zeros(len(theta), device=theta.device)
        slope = torch.zeros_like(theta) if gradient else None
        samples = [(adapter, draw) for adapter in range(len(theta)) for draw in range(len(purposes))]
        size = settings.at_once or len(samples)
        for at in range(0, len(samples), size):
            chosen = samples[at : at + size]
            owner, draw = (torch.tensor(column, device=theta.device) for column in zip(*chosen, strict=True))
            rows = [self.shares[a][(first + n) % len(self.shares[a])] for a, n in chosen]
            # Backward inside: checkpointed blocks run again there and must find these adapters.
            with torch.set_grad_enabled(gradient), method.under(theta[owner]) as velocity:
                found = own_losses(
                    velocity,
                    method.dit,
                    self.clips.select(rows),
                    seeds[draw.cpu()],
                    settings.timestep_shift,
                    noise[draw],
                )
                if slope is not None:
                    slope += torch.autograd.grad(found.sum() / len(purposes), theta)[0]
            total.index_add_(0, owner, found.detach() / len(purposes))
        return total, slope


class _Best:
    """The adapters as they were where held-out draws liked them best."""

    def __init__(self, method: Method, draws: _Draws, settings: PolishSettings, seed: int) -> None:
        self.method, self.draws, self.settings, self.seed = method, draws, settings, seed
        self.purposes = [f"polish held out {draw}" for draw in range(settings.held_out)]
        self.looks: list[Tensor] = []

    def look(self, theta: Tensor, step: int) -> None:
        """Measure, and keep what is better than before."""
        found, _ = self.draws.losses(
            self.method, theta.detach(), self.purposes, 0, self.settings, self.seed, gradient=False
        )
        self.looks.append(found.cpu())
        if step == 0:
            self.theta, self.least = theta.detach().clone(), found
            self.steps = torch.zeros(len(theta), dtype=torch.int64)
            return
        better = found < self.least
        self.least = torch.where(better, found, self.least)
        self.theta[better] = theta.detach()[better]
        self.steps[better.cpu()] = step

    def stale(self, step: int) -> bool:
        """Whether no adapter has become better for as long as `patience`."""
        return step - int(self.steps.max()) >= self.settings.patience


def _require_sense(losses: Tensor, gradient: Tensor, step: int, settings: PolishSettings) -> None:
    broken = ~losses.isfinite() | ~gradient.flatten(1).isfinite().all(dim=1).cpu()
    if broken.any():
        raise CannotPolish(
            f"The loss of adapter {int(broken.nonzero()[0])} on its reference is no finite number at polish"
            f" step {step + 1}: the model, the backbone or the reference holds such values, or"
            f" generate.polish.lr={settings.lr:g} is too high."
        )
    flat = (gradient.flatten(1) == 0).all(dim=1)
    if step == 0 and flat.any():
        raise CannotPolish(
            f"Adapter {int(flat.nonzero()[0])} has no gradient on its reference, as one of zeros has none:"
            " its category or the model did not train. Polish what a trained model predicts."
        )
