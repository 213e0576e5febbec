"""A local Ray for one command, or a connection to a cluster."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Ray reads these when it is imported, and its workers inherit them.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
# One thread per worker: Ray runs as many workers as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A worker's threads that wait for each other by spinning stop everything else on a machine of few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

OBJECT_STORE_BYTES = 1024**3


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Start a local Ray (or join the cluster at `address` or RAY_ADDRESS), quiet; shut down what was started.

    A Ray that the caller already runs in this process is used and left running. One that somebody else
    started on this machine (`ray start`) is joined only when it is named.
    """
    import ray
    from ray.data import DataContext

    # DeepSpeed calls `ninja` by name, and people run .venv/bin/video2lora without activating the environment.
    bin_folder = str(Path(sys.executable).parent)
    if bin_folder not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = bin_folder + os.pathsep + os.environ["PATH"]
    # Ray announces its token authentication at every start; leaving that on is what we want.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    mine = not ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS")
    if mine and address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    elif mine:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=OBJECT_STORE_BYTES,
            namespace=f"video2lora-{os.getpid()}",
        )
    # A scheduler's SIGTERM is a person's Ctrl-C: the same way out, with everything shut down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if mine:
            ray.shutdown()
