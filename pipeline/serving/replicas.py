"""Workers as replicas of Ray Serve: one request at a time each, a GPU each where there are any."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.store import Catalog
from pipeline.serving.settings import ServeSettings
from training.backbones.settings import BackboneSettings
from training.settings import GenerateSettings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from pipeline.serving.worker import Worker

# Seconds that a replica whose requests were taken from it has to notice.
_ENDS_WITHIN = 10


@dataclass(frozen=True)
class Work:
    """What all replicas of a server have in common; see `Worker`."""

    catalog: Catalog
    folder: Path
    models: Path
    settings: ServeSettings
    backbone: BackboneSettings | None = None
    generate: GenerateSettings | None = None
    model: str | None = None
    told: Callable[[BaseException], str | None] = lambda error: None

    def worker(self) -> Worker:
        """One more worker, of this process."""
        from pipeline.serving.worker import Worker

        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        return Worker(
            self.catalog,
            self.folder,
            self.models,
            name,
            self.settings.patience,
            self.backbone,
            self.generate,
            self.model,
            self.told,
        )


class Replica:
    """One worker in a process of its own."""

    def __init__(self, work: Work, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.worker = work.worker()

    def work_off(self, request_id: str) -> str | None:
        """See `Worker.work_off`."""
        return self.worker.work_off(request_id)


@dataclass(frozen=True)
class Replicas:
    """The running deployment; see `Workers`."""

    handle: DeploymentHandle
    places: int

    def work_off(self, request_id: str) -> str | None:
        """Wait for a replica to be free, and for it to be done."""
        return self.handle.work_off.remote(request_id).result()


@contextmanager
def deployed(work: Work) -> Iterator[Replicas]:
    """Deploy on the Ray that runs; taken down on the way out.

    The web reaches them by their handle: Serve's own HTTP proxy is not started, for what may pass is decided
    at the gate of the pages.
    """
    import ray
    from ray import serve

    # What it says of its own start is for its operators.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    places = work.settings.replicas or max(1, gpus)
    cores = int(ray.cluster_resources().get("CPU", 1))
    threads = max(1, cores // places)
    options = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    deployment = serve.deployment(
        Replica,
        name="worker",
        num_replicas=places,
        max_ongoing_requests=1,
        # Those of a server that has just ended may still be on their way.
        max_queued_requests=2 * places,
        graceful_shutdown_timeout_s=_ENDS_WITHIN,
        ray_actor_options=options,
    )
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    name = f"video2lora-{hashlib.sha256(work.catalog.uri.encode()).hexdigest()[:12]}"
    handle = serve.run(deployment.bind(work, threads), name=name, route_prefix=None)
    try:
        yield Replicas(handle, places)
    finally:
        serve.delete(name)
