"""What a worker's device holds and can do at most: the makers' figures, or what the machine says."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

GIB = 2**30
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Gpu:
    """Memory in bytes and dense peaks in FLOP/s, from the maker's data sheet (not with sparsity)."""

    memory: int
    bf16: float
    tf32: float


# By what stands in the device's name and in Ray's accelerator types; longer names come first.
GPUS = {
    "H200": Gpu(141 * 10**9, 989e12, 494e12),
    "GH200": Gpu(96 * 10**9, 989e12, 494e12),
    "H100": Gpu(80 * 10**9, 989e12, 494e12),
    "B200": Gpu(180 * 10**9, 2250e12, 1100e12),
    "A100-80G": Gpu(80 * 10**9, 312e12, 156e12),
    "A100": Gpu(40 * 10**9, 312e12, 156e12),
    "L40S": Gpu(48 * 10**9, 362e12, 183e12),
    "L4": Gpu(24 * 10**9, 121e12, 60e12),
    "A10G": Gpu(24 * 10**9, 70e12, 35e12),
}


def known_gpu(name: str) -> Gpu | None:
    """The entry of a GPU's name ("NVIDIA H200", "H100", "NVIDIA A100-SXM4-80GB"), None when unknown."""
    words = (
        name.upper().replace("-", " ").replace("A100 SXM4 80GB", "A100-80G").replace("A100 80G", "A100-80G")
    )
    return next((gpu for key, gpu in GPUS.items() if key in words.split()), None)


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Dense peak of this process's device in FLOP/s for "bf16" or "fp32" (as TF32); None where unknown."""
    if device.type != "cuda":
        return None
    gpu = known_gpu(torch.cuda.get_device_name(device))
    if gpu is None:
        return None
    return gpu.bf16 if precision == "bf16" else gpu.tf32


def device_memory(workers: int, on_gpu: bool, accelerators: Iterable[str] = ()) -> int | None:
    """Bytes that one of `workers` has: of the smallest GPU, or its share of this host's memory.

    Args:
        on_gpu: whether workers get a GPU each.
        accelerators: names of the GPUs of a cluster; this machine's own are asked where there are none.

    Returns:
        None where the workers get GPUs that nothing is known about.
    """
    if not on_gpu:
        return host_memory() // workers
    known = [gpu.memory for name in accelerators if (gpu := known_gpu(name)) is not None]
    if known:
        return min(known)
    if torch.cuda.is_available():
        return min(torch.cuda.mem_get_info(index)[1] for index in range(torch.cuda.device_count()))
    return None


def host_memory() -> int:
    """Bytes of this machine's memory, or of what its container may use."""
    total = psutil.virtual_memory().total
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))
