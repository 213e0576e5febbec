"""Before a worker is asked for: does the run fit its devices, and are the weights that it will load whole?

Everything is read from configurations and from the headers of files; no weight is loaded.
"""

from dataclasses import dataclass

from training.backbones.base import Backbone
from training.build import BuildMethod
from training.errors import TrainingError
from training.methods.base import Method
from training.planning.memory import POLICIES, STAGES, MemoryPlan, choose_plan, gigabytes, plan_memory
from training.run.settings import TrainSettings


@dataclass(frozen=True)
class Preflight:
    """What a run will need.

    Attributes:
        plans: of every ZeRO stage and checkpointing policy.
        chosen: the one that the settings name, or that fits where they say "auto".
        settings: with the chosen stage and policy in place of "auto".
        capacity: bytes of a worker's device, None where nothing is known about it.
        flops_per_sample: model FLOPs of one sample's step, what MFU counts: without recomputation.
    """

    plans: tuple[MemoryPlan, ...]
    chosen: MemoryPlan
    settings: TrainSettings
    capacity: int | None
    flops_per_sample: float

    def table(self) -> list[str]:
        """Memory per worker as lines of text: a row per policy, a column per ZeRO stage."""
        lines = ["checkpointing" + "".join(f"{f'ZeRO-{stage}':>14}" for stage in STAGES)]
        for policy in dict.fromkeys(plan.activation_checkpointing for plan in self.plans):
            row = [plan for plan in self.plans if plan.activation_checkpointing == policy]
            cells = "".join(f"{gigabytes(plan.total) + self._mark(plan):>14}" for plan in row)
            lines.append(f"{_policy_name(policy):<13}{cells}")
        where = "unknown memory" if self.capacity is None else gigabytes(self.capacity)
        lines.append(f"a worker's device has {where}; * is taken, - does not fit")
        return lines

    def sentence(self) -> str:
        """What was chosen, in one line."""
        chosen = self.chosen
        policy = _policy_name(chosen.activation_checkpointing)
        has = "" if self.capacity is None else f" of {gigabytes(self.capacity)}"
        return (
            f"ZeRO-{chosen.zero_stage}, activation checkpointing {policy}: about "
            f"{gigabytes(chosen.total)}{has} per worker"
        )

    def _mark(self, plan: MemoryPlan) -> str:
        if plan == self.chosen:
            return " *"
        return " -" if self.capacity is not None and not plan.fits(self.capacity) else "  "


def preflight(
    build: BuildMethod, backbone: Backbone, settings: TrainSettings, capacity: int | None
) -> Preflight:
    """Plan a run on a backbone that is located, not loaded.

    Args:
        capacity: bytes of a worker's device; the setting `memory_gb` goes before it. None: unknown.

    Raises:
        TooLittleMemory: the settings' stage and policy do not fit, nor any where they say "auto".
        WeightsUnreachable: the transformer's weights are torn, or not those of its configuration.
        UnsupportedBackbone, BadMethodSettings: the method does not fit the backbone.
        TrainingError: "auto" where nothing is known about the devices.
    """
    backbone.check_weights(["transformer"])
    return plan_run(build.on_meta(backbone), backbone.latent_shape, settings, capacity)


def plan_run(
    method: Method,
    latent_shape: tuple[int, int, int, int],
    settings: TrainSettings,
    capacity: int | None,
) -> Preflight:
    """The same of a method, whose sizes alone are read; latent_shape is [F, C, h, w] of one sample."""
    if settings.memory_gb is not None:
        capacity = int(settings.memory_gb * 1e9)
    stages = STAGES if settings.zero_stage == "auto" else (settings.zero_stage,)
    asked = settings.activation_checkpointing
    policies = POLICIES if asked == "auto" else (asked,)
    if capacity is not None:
        chosen = choose_plan(method, latent_shape, settings, capacity, stages, policies)
    elif len(stages) == len(policies) == 1:
        chosen = plan_memory(method, latent_shape, settings, stages[0], policies[0])
    else:
        raise TrainingError(
            "Nothing is known about the memory of the cluster's GPUs: say it with `train.memory_gb`, or set "
            "`zero_stage` and `activation_checkpointing` to fixed values."
        )
    rows = dict.fromkeys([*POLICIES, *policies])
    plans = tuple(
        plan_memory(method, latent_shape, settings, stage, policy) for policy in rows for stage in STAGES
    )
    resolved = {
        "zero_stage": chosen.zero_stage,
        "activation_checkpointing": chosen.activation_checkpointing,
    }
    return Preflight(
        plans, chosen, settings.model_copy(update=resolved), capacity, method.flops(latent_shape)
    )


def _policy_name(policy: str | int) -> str:
    return policy if isinstance(policy, str) else f"every {policy}"
