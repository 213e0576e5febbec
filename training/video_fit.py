"""Fit: a method's own trained tensors fitted to the few samples of one video, on one device.

The dataset loop (`training/run/`) shards a model, reads a stream and evaluates on clips that are held out; a
hundred steps on one video have no use for any of it. What it promises holds here too: every step's sample and
randomness are a function of its number, so a fit that was killed goes on bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.batch import TrainingBatch
from training.errors import StateMismatch, TrainingError
from training.files import written
from training.methods.base import Method
from training.progress import Progress
from training.settings import EditSettings

BETAS, WEIGHT_DECAY, CLIP_NORM = (0.9, 0.99), 0.01, 1.0
_MOMENTS = ("exp_avg", "exp_avg_sq")


class CannotFit(TrainingError):
    """A fit whose loss is no number."""


@dataclass(frozen=True)
class Fitted:
    """How a fit went.

    Attributes:
        losses: fp32 [steps] on the CPU, the loss of each step before it was taken.
        resumed_from: the step that it went on from; 0 where it began.
    """

    losses: Tensor
    resumed_from: int

    def means(self) -> tuple[float, float]:
        """Of the first tenth of the steps and of the last; 0 where none was taken."""
        tenth = max(1, len(self.losses) // 10)
        if not len(self.losses):
            return 0.0, 0.0
        return self.losses[:tenth].mean().item(), self.losses[-tenth:].mean().item()


def fit_video(
    method: Method,
    batch_of: Callable[[int], TrainingBatch],
    steps: int,
    settings: EditSettings,
    state: Path,
    progress: Progress | None = None,
) -> Fitted:
    """Fit the trained tensors of `method` to `batch_of(step)`; where a file `state` is, go on from it.

    AdamW without warm-up, the gradient's norm clipped. The state is saved every `settings.save_every` steps,
    and when the fit ends or is interrupted.

    Args:
        batch_of: the batch of a step, by its number from 0; everything random about it stands in its seeds.
        steps: in all, those of earlier runs included.
        progress: called after every step with (step, steps, {"loss": of it}).

    Raises:
        StateMismatch: a state of another fit.
        CannotFit: a loss that is no finite number.
    """
    weights = {name: value for name, value in method.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(
        weights.values(), lr=settings.lr, betas=BETAS, weight_decay=WEIGHT_DECAY, foreach=True
    )
    losses = _load(state, weights, optimizer) if state.exists() else []
    begun = step = len(losses)
    try:
        while step < steps:
            optimizer.zero_grad(set_to_none=True)
            loss = method(batch_of(step)).loss
            value = float(loss.detach())
            if not torch.isfinite(loss.detach()):
                raise CannotFit(
                    f"The loss is no finite number at step {step + 1} of the fit: the video or the backbone"
                    f" holds such values, or edit.lr={settings.lr:g} is too high."
                )
            loss.backward()
            nn.utils.clip_grad_norm_(weights.values(), CLIP_NORM)
            optimizer.step()
            step += 1
            losses.append(value)
            if progress is not None:
                progress(step, steps, {"loss": value})
            if step % settings.save_every == 0:
                _save(state, losses, weights, optimizer)
    finally:
        # Also on Ctrl-C, which may come between a step and its count: then the step is taken again.
        if step == len(losses) and step > begun and step % settings.save_every:
            _save(state, losses, weights, optimizer)
    return Fitted(torch.tensor(losses), begun)


def _save(
    path: Path, losses: list[float], weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    tensors = {"losses": torch.tensor(losses, dtype=torch.float64)}
    for name, value in weights.items():
        tensors[f"weights.{name}"] = value.detach()
        tensors |= {f"{key}.{name}": optimizer.state[value][key] for key in _MOMENTS}
    with written(path) as file:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, file)


@torch.no_grad()
def _load(path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> list[float]:
    """Put a state's tensors in their places; returns the losses of its steps."""
    try:
        with safe_open(path, "pt") as file:
            losses: list[float] = file.get_tensor("losses").tolist()
            for name, value in weights.items():
                value.copy_(file.get_tensor(f"weights.{name}"))
                moments = {key: file.get_tensor(f"{key}.{name}").to(value.device) for key in _MOMENTS}
                optimizer.state[value] = {"step": torch.tensor(float(len(losses)))} | moments
    except (OSError, SafetensorError, RuntimeError) as error:
        raise StateMismatch(
            f"{path} is no state of this fit ({' '.join(str(error).split())[:120]}). Delete it to begin"
            " again."
        ) from error
    return losses
