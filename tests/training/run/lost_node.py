"""A run on a cluster of real nodes that loses one and gets another; a process, for tests have another Ray.

`python -m tests.training.run.lost_node FOLDER` trains FOLDER/run, elastic, with one worker or two: with two
until a node is taken away with notice, alone until there is another, and with two again.
"""

import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import ray
import torch.distributed as dist
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.train.v2._internal.execution.context import get_train_context

from tests.training.run.small_run import hang, job
from tests.training.small import small_batch
from training.run.loop import train
from training.run.notice import LOOK_SECONDS

# A dead node, which refuses to answer at once, is noticed after about two seconds instead of half a minute; a
# slow one has half a minute to answer.
ATTENTIVE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 30_000,
    "health_check_failure_threshold": 3,
}
HEAD = {
    "num_cpus": 0,  # no work is where the driver is
    "object_store_memory": 10**8,
    "include_dashboard": False,
    "_system_config": ATTENTIVE,
}
NODE = {"num_cpus": 1, "object_store_memory": 10**8}
# Until a node is gone that notice was given of; the run waits for it no longer than that.
DEADLINE_SECONDS = 60.0


@dataclass
class Struck:
    """What befalls the workers of a run of four samples a step, once each.

    In the third step they wait for notice that a node goes, in the fourth the worker on it comes to nothing;
    in the sixth one that is alone waits until Ray ends it, to begin with more. Each group of workers adds to
    the file `starts` the first sample that it asks for, and how many they are.
    """

    folder: Path

    def __call__(self, plan):
        for at, numbers in enumerate(plan):
            if at == 0 and dist.get_rank() == 0:
                with (self.folder / "starts").open("a") as file:
                    file.write(f"{numbers[0]} {dist.get_world_size()}\n")
            step = numbers[0] // 4 + 1
            if step == 3 and self._first("together"):
                while not going():
                    time.sleep(0.05)
                time.sleep(LOOK_SECONDS)  # when every worker has been told, and the loop looks again
            if step == 4 and ray.get_runtime_context().get_node_id() in going():
                hang()
            if step == 6 and self._first("alone"):
                while dist.is_initialized():
                    time.sleep(0.05)
            yield small_batch(numbers)

    def _first(self, name: str) -> bool:
        if (self.folder / name).exists():
            return False
        (self.folder / name).touch()
        return True


def going() -> list[str]:
    """The nodes of which this worker has been told that they go."""
    told = get_train_context().preemption_context.preemption_info
    return told.preempted_node_ids if told is not None else []


def main(folder: Path) -> None:
    """Two workers, each on a node of its own."""
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    lost = cluster.add_node(**NODE)
    cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    (folder / "run").mkdir()
    asked = job(folder / "run", (1, 2), worker_cpus=1.0, growth_seconds=1.0, evaluate_every=None)
    ended = []
    run = threading.Thread(target=lambda: ended.append(train(asked, Struck(folder)).step))
    run.start()
    wait(run, folder / "together")
    give_notice(cluster.address, lost.node_id)
    wait(run, saved(folder, 3))
    cluster.remove_node(lost, allow_graceful=False)
    while not dead():
        time.sleep(0.1)
    count_again()
    wait(run, folder / "alone")
    wait(run, saved(folder, 4))
    cluster.add_node(**NODE)
    count_again()
    run.join()
    sys.stdout.write(f"{dead()} nodes lost; it ended at step {ended[0]}\n")
    ray.shutdown()
    cluster.shutdown()


def saved(folder: Path, step: int) -> Path:
    """What is there when a step is."""
    return folder / "run" / "checkpoints" / f"step-{step:08d}" / "state.json"


def wait(run: threading.Thread, file: Path) -> None:
    """Until it is there."""
    while run.is_alive() and not file.exists():
        time.sleep(0.05)


def give_notice(address: str, node: str) -> None:
    """Tell the cluster, as a cloud does, that a spot machine will be taken away."""
    deadline = int(1000 * (time.time() + DEADLINE_SECONDS))
    accepted, why = GcsClient(address=address).drain_node(
        node, DRAIN_NODE_REASON_PREEMPTION, "spot", deadline
    )
    assert accepted, why


def count_again() -> None:
    """Have Ray Train's and Ray Data's common books look at the nodes now; they do every twenty seconds."""
    books = get_or_create_autoscaling_coordinator()
    ray.get(books.get_reserved_resources.remote("nobody", recompute=True))


def dead() -> int:
    """How many nodes of the cluster are lost."""
    return sum(not node["Alive"] for node in ray.nodes())


if __name__ == "__main__":
    os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "1"
    os.environ["RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S"] = "0.5"
    # Ray Train first asks for as many workers as there were, for it hears of lost resources late.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    # A cluster writes its address where others would look for one to join: not there.
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        os.environ["RAY_TMPDIR"] = apart
        main(Path(sys.argv[1]))
