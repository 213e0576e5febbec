"""Whether a cluster can ever run the workers that a run asks for; Ray itself waits for them for ever."""

from collections.abc import Mapping, Sequence

from training.errors import TrainingError
from training.run.settings import TrainSettings


class NoWorkers(TrainingError):
    """The cluster has no place for the least number of workers."""


def places(machines: Sequence[Mapping[str, float]], worker: Mapping[str, float]) -> int:
    """How many workers fit on machines that do nothing else.

    Args:
        machines: what each has, by resource.
        worker: what one occupies.
    """
    return sum(
        min(int(machine.get(name, 0) / amount + 1e-9) for name, amount in worker.items() if amount > 0)
        for machine in machines
    )


def worker_resources(settings: TrainSettings) -> dict[str, float]:
    """What one worker occupies of the cluster that this process has joined, by resource."""
    import ray

    gpus = ray.cluster_resources().get("GPU", 0) > 0
    gpu = settings.device == "cuda" or (settings.device == "auto" and gpus)
    return {"CPU": settings.worker_cpus, **({"GPU": 1} if gpu else {})}


def workers_at_once(settings: TrainSettings) -> int:
    """How many workers Ray would start now: elastic ones as many as the machines have a place for."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = places(machines, worker_resources(settings))
    return max(settings.min_workers, min(settings.max_workers, found))


def require_workers(settings: TrainSettings, worker: Mapping[str, float]) -> None:
    """Refuse a run whose workers have no place in the cluster that this process has joined.

    What an autoscaler would add counts as there.

    Args:
        worker: the resources that one occupies.

    Raises:
        NoWorkers: with what there is and what would fit.
    """
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    added = ray._private.state.state.get_max_resources_from_cluster_config()
    found = max(places(machines, worker), places([added] if added else [], worker))
    if found >= settings.min_workers:
        return
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    if worker.get("GPU") and not gpus:
        raise NoWorkers(
            "train.device asks for GPUs, and the cluster has none. Add a machine that has one, or train on "
            "processors with `--set train.device=cpu`."
        )
    kind = "GPUs" if worker.get("GPU") and gpus < settings.min_workers else "processors"
    fits = f"`--workers {found}`" if found else "a smaller `train.worker_cpus`"
    raise NoWorkers(
        f"{settings.min_workers} workers are asked for, and the cluster has {kind} for {found}. Add "
        f"machines, or ask for {fits}."
    )
