"""Training the weights of a small model: warm-up, a long constant rate, a linear end, EMA, and resuming.

Every step's data and randomness are a function of the step's number, so a run that was killed goes on to the
same weights.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.errors import TrainingError
from training.files import written
from training.pretrain.muon import Muon
from training.progress import Progress


class BadFitState(TrainingError):
    """A state that belongs to another model or other settings, or that cannot be read."""


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast. The rate is constant until the last `decay` of the steps, then falls to zero."""

    steps: int
    lr: float = 1e-3
    warmup: int = 100
    decay: float = 0.2
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    save_every: int = 200

    def share(self, step: int) -> float:
        """The share of the learning rate that step number `step`, from 0, takes."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, (step + 1) / self.warmup, left)


# What an optimizer keeps of a parameter once it had a gradient; AdamW counts the steps of each.
_MOMENTS = {torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"), Muon: ("momentum_buffer",)}


def fit(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    settings: FitSettings,
    state: Path,
    progress: Progress | None = None,
    matrices: Iterable[str] = (),
    words: Collection[str] = (),
) -> float:
    """Train the parameters of `model` that are not frozen on `loss_of(step)`, going on from the file `state`.

    Of the parameters named in `matrices` (the hidden ones of a transformer) Muon takes care, at twice the
    rate, of all others AdamW: on the pocket DiT Muon needs half the steps. Tables of words in `words` take
    eight times the rate, for a word is in few of the batches.

    The state is saved every `save_every` steps, at the end and when interrupted. The model is left with the
    average (EMA) of its weights.

    Returns:
        seconds that the steps took, those of earlier runs included.

    Raises:
        BadFitState: see there.
    """
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizers = _optimizers(weights, settings.lr, frozenset(matrices), words)
    rates = [(group, group["lr"]) for each in optimizers for group in each.param_groups]
    average = {name: value.detach().clone() for name, value in weights.items()}
    step, seconds = _load(state, weights, average, optimizers) if state.exists() else (0, 0.0)
    smooth: Tensor | None = None
    shown: dict[str, float] = {}
    began = time.perf_counter() - seconds
    try:
        while step < settings.steps:
            for group, rate in rates:
                group["lr"] = rate * settings.share(step)
            model.zero_grad(set_to_none=True)
            loss = loss_of(step)
            loss.backward()
            nn.utils.clip_grad_norm_(weights.values(), settings.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            keep = min(settings.ema_decay, step / (step + 10))
            torch._foreach_lerp_(
                list(average.values()), [value.detach() for value in weights.values()], 1 - keep
            )
            smooth = loss.detach() if smooth is None else smooth.lerp(loss.detach(), 0.02)
            if progress is not None:
                if step % 10 == 1 or step == settings.steps:
                    shown = {"loss": smooth.item()}  # a GPU is waited for, so not every step
                progress(step, settings.steps, shown)
            if step % settings.save_every == 0:
                _save(state, step, time.perf_counter() - began, weights, average, optimizers)
    finally:
        # Also on Ctrl-C: between two steps everything is whole.
        _save(state, step, time.perf_counter() - began, weights, average, optimizers)
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(average[name])
    return time.perf_counter() - began


def _optimizers(
    weights: dict[str, nn.Parameter], lr: float, matrices: frozenset[str], words: Collection[str]
) -> list[torch.optim.Optimizer]:
    others = [value for name, value in weights.items() if name not in matrices and name not in words]
    groups: list[dict] = [{"params": others}]
    if words:
        groups.append({"params": [weights[name] for name in words], "lr": 8 * lr})
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    ]
    if matrices:
        hidden = [weights[name] for name in sorted(matrices)]
        found.append(Muon(hidden, lr=2 * lr, weight_decay=1e-4))
    return found


def _save(
    path: Path,
    step: int,
    seconds: float,
    weights: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizers: list[torch.optim.Optimizer],
) -> None:
    tensors = {}
    for name, value in weights.items():
        tensors |= {f"weights.{name}": value.detach(), f"average.{name}": average[name]}
        for optimizer in optimizers:
            moments = optimizer.state.get(value, {})
            tensors |= {f"{key}.{name}": moments[key] for key in _MOMENTS[type(optimizer)] if key in moments}
    facts = {"step": str(step), "seconds": str(seconds)}
    with written(path) as file:
        save_file({name: value.contiguous() for name, value in tensors.items()}, file, metadata=facts)


def _load(
    path: Path,
    weights: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizers: list[torch.optim.Optimizer],
) -> tuple[int, float]:
    owner = {
        id(value): each for each in optimizers for group in each.param_groups for value in group["params"]
    }
    try:
        with safe_open(path, "pt") as file, torch.no_grad():
            step, seconds = int(file.metadata()["step"]), float(file.metadata()["seconds"])
            there = set(file.keys())
            for name, value in weights.items():
                value.copy_(file.get_tensor(f"weights.{name}"))
                average[name].copy_(file.get_tensor(f"average.{name}"))
                optimizer = owner[id(value)]
                if any(f"{key}.{name}" in there for keys in _MOMENTS.values() for key in keys):
                    optimizer.state[value] = {
                        key: file.get_tensor(f"{key}.{name}").to(value.device)
                        for key in _MOMENTS[type(optimizer)]
                    }
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadFitState(
            f"The state {str(path)!r} is not one of this model ({' '.join(str(error).split())[:120]}). Delete"
            " it to begin again, or name another working folder."
        ) from error
    return step, seconds
