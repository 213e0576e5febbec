"""Timing a step on a CPU or a GPU, its profile, and the optimizer that every kind of step takes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Timing:
    """Seconds of a step over many, and the device's peak memory (None on a CPU, which counts none)."""

    median: float
    p10: float
    p90: float
    peak_bytes: int | None


def time_step(step: Callable[[], None], steps: int, warmup: int, device: torch.device) -> Timing:
    """Run a step until it is warm, then time it `steps` times.

    On a GPU by events in its own queue: what the host does beside it costs nothing unless the device waits.
    On a CPU in processor seconds: the clock on the wall would also time who else is on the machine.
    """
    for _ in range(warmup):
        step()
    if device.type != "cuda":
        seconds = []
        for _ in range(steps):
            began = time.process_time()
            step()
            seconds.append(time.process_time() - began)
        return _timing(seconds, None)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    torch.cuda.synchronize(device)
    seconds = [first.elapsed_time(then) / 1e3 for first, then in pairwise(marks)]
    return _timing(seconds, torch.cuda.max_memory_allocated(device))


def _timing(seconds: list[float], peak_bytes: int | None) -> Timing:
    low, median, high = np.quantile(seconds, [0.1, 0.5, 0.9])
    return Timing(float(median), float(low), float(high), peak_bytes)


def profile_step(step: Callable[[], None], device: torch.device, rows: int = 20, steps: int = 5) -> str:
    """The operators that warm steps spend their time in, as a table of the sums over `steps`."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    step()
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=rows, max_name_column_width=48)


class MasterAdamW:
    """AdamW on fp32 copies of the trained tensors, gradient norm clipped to 1, as the engine does it."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        self.masters = [_master(parameter) for parameter in self.parameters]
        self.adam = torch.optim.AdamW(self.masters, lr=lr, fused=self.masters[0].is_cuda or None)

    @torch.no_grad()
    def step(self) -> None:
        """Update from the gradients of the last backward, and clear them."""
        for master, parameter in zip(self.masters, self.parameters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        nn.utils.clip_grad_norm_(self.masters, 1.0, foreach=True)
        self.adam.step()
        torch._foreach_copy_(self.parameters, self.masters)


def _master(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().clone().float()
