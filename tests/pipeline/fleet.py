"""A real Ray of several machines on this one, of which some can be lost; and one that lacks a folder."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

from jobs.reaper import marked
from tests.training.run.lost_node import HEAD, NODE, count_again


class Fleet:
    """Two machines of one logical CPU each, and a head that has none: no work is where the driver is."""

    def __init__(self) -> None:
        self.machines = Cluster(initialize_head=True, head_node_args=HEAD)
        self.nodes = [self.machines.add_node(**NODE) for _ in range(2)]
        self.machines.wait_for_nodes()
        ray.init(address=self.machines.address, log_to_driver=False)

    def close(self) -> None:
        ray.shutdown()
        self.machines.shutdown()

    def lose(self) -> None:
        """Kill one."""
        self.machines.remove_node(self.nodes.pop(0), allow_graceful=False)

    def notice(self) -> None:
        """Return when it is known of every machine that is lost."""
        while sum(node["Alive"] for node in ray.nodes()) > 1 + len(self.nodes):
            time.sleep(0.1)

    def fill(self) -> None:
        """Two again."""
        self.notice()
        self.nodes += [self.machines.add_node(**NODE) for _ in range(2 - len(self.nodes))]
        self.machines.wait_for_nodes()
        count_again()

    def lose_at_first(self) -> Callable[[int, int | None, dict], None]:
        """A Progress that loses a machine when something is done, once."""
        whole = len(self.nodes)

        def told(done: int, total: int | None, facts: dict) -> None:
            if done and facts.get("clips") != "0" and len(self.nodes) == whole:
                self.lose()

        return told


def may_hide() -> bool:
    """Whether this process may give another one a view of the disk of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def machine_that_lacks(place: Path, address: str) -> Iterator[None]:
    """A machine of one logical CPU that sees an empty folder in its place."""
    place.mkdir(exist_ok=True)
    start = f"{Path(sys.executable).with_name('ray')} start --address {address} --num-cpus 1 --block"
    start += f" --object-store-memory {NODE['object_store_memory']} --disable-usage-stats"
    alive = sum(node["Alive"] for node in ray.nodes())
    words = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{place}' && exec {start}"]
    log = place.with_name(f"{place.name}.log")
    with log.open("wb") as said:
        running = subprocess.Popen(
            words, stdout=said, stderr=said, env=os.environ | {"MACHINE_THAT_LACKS": str(place)}
        )
    try:
        while sum(node["Alive"] for node in ray.nodes()) == alive:
            assert running.poll() is None, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait()
        for pid in marked(f"MACHINE_THAT_LACKS={place}"):
            psutil.Process(pid).kill()
