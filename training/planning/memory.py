"""How much memory a training worker will need, from the configuration alone, and which policy fits."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.errors import TooLittleMemory
from training.methods.base import Method
from training.run.settings import TrainSettings

# Share of a device that is left to the allocator, the CUDA context and communication.
RESERVE = 0.08
STAGES = (0, 1, 2, 3)
POLICIES: tuple[str | int, ...] = ("none", 4, 2, "full")
# In the order in which a run had better take them. ZeRO-1 sends as many bytes a step as ZeRO-0 and shards the
# optimizer's state, and the host waits for a few values where under ZeRO-0 it waits for one or two of every
# trainable tensor (`python -m tests.training.run.parity` counts them). ZeRO-0 is left for fp32, where it
# needs no second copy of the weights. Under ZeRO-3 the frozen weights travel in every step.
PREFERENCE = ((1, 0, 2), (3,))


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that one worker needs with a ZeRO stage and an activation-checkpointing policy."""

    zero_stage: int
    activation_checkpointing: str | int
    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations

    def fits(self, capacity: int) -> bool:
        """Whether it does on a device of `capacity` bytes, with the reserve left free."""
        return self.total <= capacity * (1 - RESERVE)


def gigabytes(amount: float) -> str:
    """Bytes as a person reads them."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e8 else f"{amount / 1e9:.3f} GB"


def plan_memory(
    method: Method,
    latent_shape: tuple[int, int, int, int],
    settings: TrainSettings,
    zero_stage: int,
    activation_checkpointing: str | int,
) -> MemoryPlan:
    """What a worker of `settings` needs; the method may be on the meta device, only its sizes are read.

    latent_shape is [F, C, h, w] of one sample. Stages shard among the fewest workers the run may have.
    """
    wide = 2 if settings.precision == "bf16" else 4
    trainable = sum(p.numel() for p in method.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in method.parameters() if not p.requires_grad)
    block = max(sum(p.numel() for p in b.parameters()) for b in method.dit.blocks)
    workers = settings.min_workers
    shard = workers if zero_stage > 0 else 1

    weights = (frozen + trainable) * wide
    if zero_stage == 3:
        weights = weights // workers + 2 * block * wide  # the block that runs and the one fetched meanwhile
    states = 2 + (settings.ema_decay is not None) + (settings.precision == "bf16" or zero_stage > 0)
    optimizer = 4 * states * trainable // shard
    gradients = trainable * wide
    if settings.precision == "bf16" and zero_stage < 2:
        gradients += 4 * trainable  # summed up in fp32
    if zero_stage >= 2:
        gradients = trainable * wide + 4 * trainable // workers  # a bucket of all, and this worker's share
    activations = settings.batch_size * wide * method.kept_values(latent_shape, activation_checkpointing)
    return MemoryPlan(zero_stage, activation_checkpointing, weights, gradients, optimizer, activations)


def choose_plan(
    method: Method,
    latent_shape: tuple[int, int, int, int],
    settings: TrainSettings,
    capacity: int,
    stages: Sequence[int] = STAGES,
    policies: Sequence[str | int] = POLICIES,
) -> MemoryPlan:
    """The fastest plan that fits into `capacity` bytes of a device.

    It recomputes as little as fits, then takes the stage that comes first in `PREFERENCE`; frozen weights are
    sharded (ZeRO-3) only when nothing else fits.

    Raises:
        TooLittleMemory: none of the stages and policies fits.
    """
    plans = [
        plan_memory(method, latent_shape, settings, stage, policy)
        for group in PREFERENCE
        for policy in policies
        for stage in group
        if stage in stages
    ]
    for plan in plans:
        if plan.fits(capacity):
            return plan
    least = min(plans, key=lambda plan: plan.total)
    fixed = set(stages) != set(STAGES) or set(policies) != set(POLICIES)
    advice = "`zero_stage` and `activation_checkpointing` set to auto, " if fixed else ""
    raise TooLittleMemory(
        f"Training needs at least {gigabytes(least.total)} per worker (ZeRO-{least.zero_stage}, activation "
        f"checkpointing {least.activation_checkpointing}, batch size {settings.batch_size}), {RESERVE:.0%} "
        f"more to work in, and a device has {gigabytes(capacity)}. Use {advice}more workers under ZeRO-3, a "
        f"smaller batch or a smaller geometry."
    )
