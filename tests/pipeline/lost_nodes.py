"""The way from files to features on one machine, and on a cluster that loses a machine at every stage.

`python -m tests.pipeline.lost_nodes FOLDER` makes FOLDER/one and FOLDER/two, a catalogue each, with the same
settings, and prints a line for every stage: how many machines were lost in it. A process, for the tests
have another Ray.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from catalog.store import Catalog
from jobs.profile import Profile, load_profile
from pipeline.cluster import cluster as categorise
from pipeline.embed import embed
from pipeline.encode import encode
from pipeline.ingest import ingest
from pipeline.sources.survey import discover
from pipeline.workers.nodes import NodeNeeds, require_nodes
from tests.pipeline.video.video_files import moving, write
from tests.training.run.lost_node import ATTENTIVE, NODE, dead

SETTINGS = (
    *("clip.num_frames=49", "clip.height=64", "clip.width=96", "cluster.val_fraction=0"),
    *("ingest.batch_files=1", "embed.batch_size=1", "encode.batch_size=1", "encode.first_frame_variants=1"),
)
# Each actor on a machine of its own.
APART = ("embed.actors=2", "encode.actors=2")


def main(folder: Path) -> None:
    """Machines of one logical CPU; the head has none, so that no work is where the driver is."""
    head = {
        "num_cpus": 0,
        "object_store_memory": 10**8,
        "include_dashboard": False,
        "_system_config": ATTENTIVE,
    }
    machines = Cluster(initialize_head=True, head_node_args=head)
    fleet = [machines.add_node(**NODE)]
    ray.init(address=machines.address, log_to_driver=False)
    for effect, seeds in (("melt", (1, 2, 3)), ("crush", (4, 5, 6))):
        for seed in seeds:
            write(folder / "videos" / effect / f"{seed}.mp4", moving(30, seed=seed))

    way(folder / "one", folder / "videos", load_profile("tiny", [*SETTINGS]), None)
    fleet.append(machines.add_node(**NODE))
    machines.wait_for_nodes()
    names = require_nodes(NodeNeeds((folder,)))
    print(f"machines looked at: {len(names)}", flush=True)
    way(folder / "two", folder / "videos", load_profile("tiny", [*SETTINGS, *APART]), Blow(machines, fleet))
    ray.shutdown()
    machines.shutdown()


class Blow:
    """Kills a machine when a stage has done something, once a stage, and puts another one in its place."""

    def __init__(self, machines: Cluster, fleet: list) -> None:
        self._machines, self._fleet = machines, fleet
        self.armed = False

    def __call__(self, done: int, total: int | None, info: dict) -> None:
        if self.armed and done:
            self.armed = False
            self._machines.remove_node(self._fleet.pop(0), allow_graceful=False)
            self._fleet.append(self._machines.add_node(**NODE))


def way(folder: Path, videos: Path, profile: Profile, blow: Blow | None) -> None:
    """All stages, into a folder."""

    def stage(name: str, work: Callable[[], object]) -> None:
        before = dead()
        if blow is not None:
            blow.armed = True
        work()
        if blow is not None:
            print(f"{name}: {dead() - before} machines lost", flush=True)

    catalog = Catalog.create(folder / "catalog", profile.clip)

    stage("ingest", lambda: ingest(discover(videos), catalog, profile.ingest, progress=blow))
    stage("embed", lambda: embed(catalog, profile.embed, blow))
    categorise(catalog, profile.cluster)
    stage("encode", lambda: encode(catalog, profile.backbone, profile.encode, blow))


if __name__ == "__main__":
    # A cluster writes its address where others would look for one to join: not there.
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        os.environ["RAY_TMPDIR"] = apart
        main(Path(sys.argv[1]))
