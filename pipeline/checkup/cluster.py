"""Whether the machines of a cluster fit together: what they have, their versions, their clocks."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.checkup.finding import Finding, Verdict
from pipeline.workers.versions import own_versions

# Seconds; leases and logs go by the clock.
_CLOCKS_DIFFER = 2.0
_PATIENCE = 60.0
_GPUS = "Add machines that have some; a group that scales from zero comes when a job asks for it."


@dataclass(frozen=True)
class Machine:
    """One machine of a cluster.

    Attributes:
        versions: of Python and of packages, by name.
        ahead: seconds that its clock is ahead of this machine's.
        unsure: how uncertain that is: half of what the answer took.
    """

    versions: Mapping[str, str]
    ahead: float
    unsure: float


def look_at_resources(needs_gpu: bool, wants_gpu: bool) -> Finding:
    """What the cluster that this process has joined can do."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    has = ray.cluster_resources()
    gpus, cpus, memory = (has.get(name, 0) for name in ("GPU", "CPU", "memory"))
    said = f"{len(nodes)} machines, {cpus:.0f} processors, {gpus:.0f} GPUs, {memory / 1e9:.0f} GB of memory"
    if needs_gpu and not gpus:
        return Finding("cluster", Verdict.PROBLEM, f"{said}, and the profile trains on GPUs.", _GPUS)
    if wants_gpu and not gpus:
        return Finding("cluster", Verdict.WARNING, f"{said}, and the profile is made for GPUs.", _GPUS)
    return Finding("cluster", Verdict.OK, said)


def look_at_machines(patience: float = _PATIENCE) -> Iterator[Finding]:
    """Ask every machine of the cluster that this process has joined for its versions and its time."""
    machines, silent = _asked(patience)
    for name in silent:
        yield Finding(
            "machines",
            Verdict.PROBLEM,
            f"Machine {name} has not answered within {patience:.0f} s, or lacks this project.",
            "Look at it with `ray status`; install the project there, or take it out of the cluster.",
        )
    yield compare_versions({name: each.versions for name, each in machines.items()}, own_versions())
    yield compare_clocks({name: (each.ahead, each.unsure) for name, each in machines.items()})


def compare_versions(machines: Mapping[str, Mapping[str, str]], own: Mapping[str, str]) -> Finding:
    """Whether all machines have this one's versions."""
    other = [
        f"{name} has {package} {versions.get(package)} (here {here})"
        for name, versions in sorted(machines.items())
        for package, here in own.items()
        if versions.get(package) != here
    ]
    if other:
        do = "Every machine needs the versions of requirements.lock, best from one image."
        return Finding("versions", Verdict.PROBLEM, f"{'; '.join(other)}.", do)
    return Finding("versions", Verdict.OK, f"{len(machines)} machines have this machine's versions")


def compare_clocks(offsets: Mapping[str, tuple[float, float]]) -> Finding:
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


def _asked(patience: float) -> tuple[dict[str, Machine], list[str]]:
    """By name the machines that answered, and the names of those that did not."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            actor = ray.remote(_Asked).options(num_cpus=0, scheduling_strategy=there).remote()
            # Once it has said its versions it has started: what it is asked then is answered at once.
            asked[actor.versions.remote()] = (node["NodeManagerHostname"], actor)
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
    machines, silent = {}, []
    for answer, (name, actor) in asked.items():
        try:
            versions = ray.get(answer, timeout=0 if answer in ready else 0.01)
            began = time.time()
            told = ray.get(actor.now.remote(), timeout=patience)
            ended = time.time()
            machines[name] = Machine(versions, told - (began + ended) / 2, (ended - began) / 2)
        except (ray.exceptions.RayError, TimeoutError):
            silent.append(name)
        ray.kill(actor)
    return machines, silent


class _Asked:
    """On a machine of the cluster."""

    def versions(self) -> dict[str, str]:
        return own_versions()

    def now(self) -> float:
        return time.time()
