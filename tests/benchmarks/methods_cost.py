"""What a method costs, for the comparison of methods: processor seconds, bytes held at once, bytes stored."""

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.batch import References
from training.methods.base import Condition, Method

STORED = 2  # bytes of a value as it is kept, in bf16


def clock(device: torch.device) -> float:
    """Seconds so far: the processor's, for the wall's clock also times who else is on the machine; on a GPU
    the wall's, once it is idle."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(work: Callable[[], Any], device: torch.device, times: int = 3) -> float:
    """The least of several runs: what else happens only adds."""
    took = []
    for _ in range(times):
        began = clock(device)
        work()
        took.append(clock(device) - began)
    return min(took)


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes of tensors that are there at once while something runs, beside those that were there before.

    On a CPU of whole tensors alone: what an operator needs inside itself is not seen.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    live = _Live()
    with live:
        work()
    return live.peak


class _Live(TorchDispatchMode):
    """Counts the bytes of the storages that operators make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._seen: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        # What goes in was there before, unless it was made here.
        for tensor in _tensors((args, kwargs)):
            self._seen.add(tensor.untyped_storage())
        made = func(*args, **kwargs)
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen.add(storage)
                self.held += storage.nbytes()
                self.peak = max(self.peak, self.held)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return made

    def _freed(self, count: int) -> None:
        self.held -= count


def _tensors(tree: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def bytes_of(condition: Condition) -> int:
    """What has to be stored of one effect: of an adapter its values, of references all that they are."""
    if isinstance(condition, References):
        parts = [condition.latents, condition.first_frames, condition.texts]
    elif isinstance(condition, Tensor):
        parts = [condition]
    else:
        parts = [value for pair in condition.values() for value in pair]
    return STORED * sum(part.numel() for part in parts)


def trained_bytes(method: Method) -> int:
    """What a method learned and every effect shares."""
    return STORED * sum(value.numel() for value in method.trainable_state().values())


def held_bytes(*modules: nn.Module) -> int:
    """Weights of modules, as they lie in memory."""
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
