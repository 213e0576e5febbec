"""What the stages do, by plain processes without Ray, each pinned to a core and given its share of the work.

Beside `tests.benchmarks.nodes`, whose catalogue of one node has the clips.
"""

import multiprocessing
import os
import socket
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Queue
from time import monotonic

from tests.benchmarks.nodes import STAGES, WARM_CLIPS, WARM_STEPS, cores, settings_for


def peer(count: int, folder: Path, videos: Sequence[Path], encoded: int, steps: int) -> dict[str, float]:
    """Clips or samples a second of `count` processes, by stage."""
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(count), context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    arguments = (count, folder, [str(file) for file in videos], encoded, steps, barrier, told)
    workers = [context.Process(target=work, args=(number, *arguments)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"a plain process ended with status {worker.exitcode}")
    return dict(zip(STAGES, told.get(), strict=True))


def work(
    number: int,
    count: int,
    folder: Path,
    videos: list[str],
    encoded: int,
    steps: int,
    barrier: Barrier,
    told: Queue,
) -> None:
    """One of the processes; the first tells the rates of all."""
    os.sched_setaffinity(0, {cores()[number]})
    import torch

    from catalog.store import Catalog
    from jobs.profile import load_profile

    torch.set_num_threads(1)
    profile = load_profile("tiny", settings_for(count, steps))
    catalog = Catalog.open(folder / "catalog-1")
    clips = sorted(catalog.distinct("clips", "clip_id"))
    stages = [
        (_ingested(catalog, profile.ingest.normalise), videos, 1),
        (_embedded(catalog, profile.embed), clips, 2),
        (_encoded(catalog, profile), clips[:encoded], 2),
    ]
    rates = []
    for act, items, size in stages:
        for item in _groups(items[:WARM_CLIPS], size):
            act(item)
        rest = items[WARM_CLIPS:]
        barrier.wait()
        began = monotonic()
        for item in _groups(rest[number::count], size):
            act(item)
        barrier.wait()
        rates.append(len(rest) / (monotonic() - began))
    rates.append(_trained(number, count, folder, catalog, profile, steps, barrier))
    if number == 0:
        told.put([round(rate, 4) for rate in rates])


def _groups(items: Sequence[str], size: int) -> list[list[str]]:
    return [list(items[at : at + size]) for at in range(0, len(items), size)]


def _ingested(catalog, settings):
    from pipeline.video.normalise import normalise

    def act(names: list[str]) -> None:
        for name in names:
            with open(name, "rb") as file:  # noqa: PTH123
                normalise(file, catalog.spec, settings)

    return act


def _embedded(catalog, settings):
    import pyarrow as pa

    from pipeline.embed import EmbedClips

    actor = EmbedClips(catalog, settings)
    return lambda names: actor(pa.table({"key": names}))


def _encoded(catalog, profile):
    import pyarrow as pa

    from pipeline.encode import EncodeClips

    actor = EncodeClips(catalog, profile.backbone, profile.encode)
    return lambda names: actor(pa.table({"key": names}))


def _trained(number, count, folder, catalog, profile, steps, barrier) -> float:
    """Samples a second of torch's own data parallelism on the same pairs, which are there beforehand."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from jobs.train import run_settings
    from pipeline.prepare import prepare_run
    from training.run.schedule import sample_plan, worker_accumulation

    run = prepare_run(catalog, folder / f"plain-runs-{count}-{number}", run_settings(profile))
    settings = run.job.settings
    accumulation = worker_accumulation(settings, count)
    plan = sample_plan(settings, number, count, 0, 0)
    batches = [run.stream.batch(next(plan)) for _ in range(4)]
    dist.init_process_group("gloo", rank=number, world_size=count)
    module = run.job.module()
    trained = [each for each in module.parameters() if each.requires_grad]
    parallel = DistributedDataParallel(module, find_unused_parameters=True)
    adam = torch.optim.AdamW(trained, lr=settings.lr)
    began = 0.0
    for step in range(steps):
        if step == WARM_STEPS:
            barrier.wait()
            began = monotonic()
        for micro in range(accumulation):
            loss = parallel(batches[(step * accumulation + micro) % len(batches)]).loss
            (loss / accumulation).backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        adam.step()
        adam.zero_grad()
    barrier.wait()
    rate = (steps - WARM_STEPS) * settings.samples_per_step / (monotonic() - began)
    dist.destroy_process_group()
    return rate
