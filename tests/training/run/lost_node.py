"""Two runs on a cluster of real nodes, each of which loses one; a process, for tests have another Ray.

`python -m tests.training.run.lost_node FOLDER` trains FOLDER/gone, whose node is not replaced, so that the
run shrinks; then FOLDER/back, which gets another node.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tests.training.run.small_run import StruckStream, hang, job
from training.run.loop import train

# A dead node, which refuses to answer at once, is noticed after about two seconds instead of half a minute; a
# slow one has half a minute to answer.
ATTENTIVE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 30_000,
    "health_check_failure_threshold": 3,
}
NODE = {"num_cpus": 1, "object_store_memory": 10**8}


def main(folder: Path) -> None:
    """Two workers, each on a node of its own; the head has no room for one."""
    head = {
        "num_cpus": 0,
        "object_store_memory": 10**8,
        "include_dashboard": False,
        "_system_config": ATTENTIVE,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    lost = cluster.add_node(**NODE)
    cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    for name, workers in (("gone", (1, 2)), ("back", 2)):
        before = dead()
        run, ended = begin(folder / name, workers)
        cluster.remove_node(lost, allow_graceful=False)
        if name == "back":
            cluster.add_node(**NODE)
        run.join()
        if dead() > before:
            sys.stdout.write(f"{name}: a node lost; it ended at step {ended[0]}\n")
        lost = cluster.add_node(**NODE)
    ray.shutdown()
    cluster.shutdown()


def begin(folder: Path, workers: int | tuple[int, int]) -> tuple[threading.Thread, list[int]]:
    """A run that has a checkpoint and waits in its third step; and a list for the step at which it ends."""
    marker, ended = folder / "in the third step", []
    stream = StruckStream(4 * 2 + 1, marker, hang)
    run = threading.Thread(
        target=lambda: ended.append(train(job(folder, workers, worker_cpus=1.0), stream).step)
    )
    run.start()
    while run.is_alive() and not (marker.exists() and any(folder.glob("checkpoints/step-*/state.json"))):
        time.sleep(0.05)
    return run, ended


def dead() -> int:
    """How many nodes of the cluster are lost."""
    return sum(not node["Alive"] for node in ray.nodes())


if __name__ == "__main__":
    # Ray Train first asks for as many workers as there were, for it hears of lost resources late.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    # A cluster writes its address where others would look for one to join: not there.
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        os.environ["RAY_TMPDIR"] = apart
        main(Path(sys.argv[1]))
