"""Whether the machines of a cluster fit together, and their clocks agree."""

import time
from collections.abc import Iterator, Mapping

from pipeline.checkup.finding import Finding, Verdict

# Seconds; leases and logs go by the clock.
_CLOCKS_DIFFER = 2.0
_PATIENCE = 60.0


def look_at_resources(needs_gpu: bool, wants_gpu: bool) -> Iterator[Finding]:
    """What the cluster that this process has joined can do."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    has = ray.cluster_resources()
    gpus, cpus, memory = (has.get(name, 0) for name in ("GPU", "CPU", "memory"))
    said = f"{len(nodes)} machines, {cpus:.0f} processors, {gpus:.0f} GPUs, {memory / 1e9:.0f} GB of memory"
    if needs_gpu and not gpus:
        yield Finding("cluster", Verdict.PROBLEM, f"{said}, and the profile trains on GPUs.", _GPUS)
    elif wants_gpu and not gpus:
        yield Finding("cluster", Verdict.WARNING, f"{said}, and the profile is made for GPUs.", _GPUS)
    else:
        yield Finding("cluster", Verdict.OK, said)


_GPUS = "Add machines that have some; a group that scales from zero comes when a job asks for it."


def look_at_clocks(offsets: Mapping[str, tuple[float, float]]) -> Finding:
    """Whether clocks agree.

    Args:
        offsets: by machine, seconds that its clock is ahead of this one, and how uncertain that is.
    """
    off = {name: ahead for name, (ahead, unsure) in offsets.items() if abs(ahead) - unsure > _CLOCKS_DIFFER}
    if off:
        told = ", ".join(f"{name} {ahead:+.1f} s" for name, ahead in sorted(off.items()))
        return Finding(
            "clocks",
            Verdict.WARNING,
            f"Clocks differ from this machine's: {told}. Leases and logs go by the clock.",
            "Let them follow a time server: `timedatectl set-ntp true` there.",
        )
    return Finding("clocks", Verdict.OK, f"the clocks of {len(offsets)} machines agree")


def clock_offsets() -> dict[str, tuple[float, float]]:
    """By machine, seconds that its clock is ahead of this one's, and half the time it took to ask."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    offsets = {}
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        actor = ray.remote(_Clock).options(num_cpus=0, scheduling_strategy=there).remote()
        ray.get(actor.now.remote(), timeout=_PATIENCE)  # it has started: what follows is quick
        asked = time.time()
        told = ray.get(actor.now.remote(), timeout=_PATIENCE)
        answered = time.time()
        ahead = told - (asked + answered) / 2
        offsets[node["NodeManagerHostname"]] = (ahead, (answered - asked) / 2)
        ray.kill(actor)
    return offsets


class _Clock:
    def now(self) -> float:
        return time.time()
