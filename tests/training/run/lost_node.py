"""A run on a cluster of real nodes, one of which is lost in mid-run; a process, for tests have another Ray.

`python -m tests.training.run.lost_node FOLDER back` adds a node again, `gone` does not: the run shrinks.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tests.training.run.test_loop import WaitingStream, job
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


def main(folder: Path, comes_back: bool) -> None:
    """Two workers, each on a node of its own; the head has no room for one."""
    head = {
        "num_cpus": 0,
        "object_store_memory": 10**8,
        "include_dashboard": False,
        "_system_config": ATTENTIVE,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(**NODE) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    marker = folder / "in the third step"
    workers = 2 if comes_back else (1, 2)
    result = []
    run = threading.Thread(
        target=lambda: result.append(
            train(job(folder, workers, worker_cpus=1.0), WaitingStream(4 * 2 + 1, marker))
        )
    )
    run.start()
    while run.is_alive() and not (marker.exists() and any(folder.glob("checkpoints/step-*/state.json"))):
        time.sleep(0.05)
    cluster.remove_node(nodes[1], allow_graceful=False)
    if comes_back:
        cluster.add_node(**NODE)
    run.join()
    dead = sum(not node["Alive"] for node in ray.nodes())
    sys.stdout.write(f"{dead} of {len(ray.nodes())} nodes lost; the run ended at step {result[0].step}\n")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    # Ray Train first asks for as many workers as there were, for it hears of lost resources late.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    # A cluster writes its address where others would look for one to join: not there.
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        os.environ["RAY_TMPDIR"] = apart
        main(Path(sys.argv[1]), comes_back=sys.argv[2] == "back")
