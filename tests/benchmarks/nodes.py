"""What a second node brings, by stage: clips a second of ingest, embed, encode, samples a second of train.

`python -m tests.benchmarks.nodes`. A node is a raylet of one logical CPU, pinned to a core of its own; the
head has none, and shares the cores with them. Each number of nodes is a Ray of its own, in a process of its
own. The peer is the same work by as many plain processes, pinned to the same cores, without Ray
(nodes_peer.py): what it gains is what two cores of this machine give at most. A stage is warm before its
clock starts. Prints one JSON object as its last line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING

from tests.pipeline.video.video_files import moving, write

if TYPE_CHECKING:
    from catalog.store import Catalog

STAGES = ("ingest", "embed", "encode", "train")
# Clips that are ingested, and steps that are trained, before the clock starts; every worker has begun then.
WARM_CLIPS, WARM_STEPS = 8, 3
NODES = (1, 2)


def settings_for(nodes: int, steps: int) -> list[str]:
    """What `--set` says: one worker a node, and a step of the same samples whatever their number."""
    return [
        *("clip.height=64", "clip.width=96", "ingest.batch_files=2", "ingest.commit_rows=4"),
        *(f"embed.actors={nodes}", "embed.batch_size=2", f"encode.actors={nodes}", "encode.batch_size=2"),
        *(f"train.workers={nodes}", f"train.accumulation={NODES[-1] // nodes}", "train.batch_size=1"),
        *(f"train.steps={steps}", f"train.checkpoint_every={steps}", "train.evaluate_every=null"),
        *("train.worker_cpus=0.6", "train.worker_threads=1", "train.trackers=[]"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=600, help="videos that are ingested and embedded")
    parser.add_argument("--encoded", type=int, default=96, help="of these, which takes longest")
    parser.add_argument("--steps", type=int, default=40, help="of training that are timed")
    parser.add_argument("--times", type=int, default=4, help="as large as 72 × 96 are the videos")
    parser.add_argument("--one", nargs=3, metavar=("WHO", "NODES", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if asked.one:
        who, nodes, folder = asked.one
        print(json.dumps(one(who, int(nodes), Path(folder), asked.encoded, asked.steps)))
        return
    load, rates = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory(prefix="nodes-") as folder:
        for number in range(WARM_CLIPS + asked.clips):
            frames = moving(49, seed=number).repeat(asked.times, axis=1).repeat(asked.times, axis=2)
            write(Path(folder) / "videos" / f"{number:04}.mp4", frames)
        for nodes in NODES:
            for who in ("ray", "peer"):
                words = ["--one", who, str(nodes), folder]
                words += ["--encoded", str(asked.encoded), "--steps", str(asked.steps)]
                command = [sys.executable, "-m", "tests.benchmarks.nodes", *words]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rates[who, nodes] = json.loads(done.stdout.splitlines()[-1])
                print(json.dumps({"who": who, "nodes": nodes, **rates[who, nodes]}), flush=True)
    found = {stage: compared({key: rate[stage] for key, rate in rates.items()}) for stage in STAGES}
    facts = {name: getattr(asked, name) for name in ("clips", "encoded", "steps", "times")}
    print(json.dumps(facts | {"cores": cores(), "load_before": round(load, 2), "stages": found}))


def compared(rates: dict[tuple[str, int], float]) -> dict[str, float]:
    """Rates of one stage as one row: ours and the peer's, and what the second node brought each."""
    few, many = NODES
    ours, peer = (rates[who, many] / rates[who, few] for who in ("ray", "peer"))
    return {
        "one_node_per_second": round(rates["ray", few], 3),
        "two_nodes_per_second": round(rates["ray", many], 3),
        "speed_up": round(ours, 3),
        "peer_one_per_second": round(rates["peer", few], 3),
        "peer_two_per_second": round(rates["peer", many], 3),
        "peer_speed_up": round(peer, 3),
        "share_of_peers_speed_up": round(ours / peer, 3),
    }


def one(who: str, nodes: int, folder: Path, encoded: int, steps: int) -> dict[str, float]:
    """The rate of every stage, in this process."""
    videos = sorted((folder / "videos").glob("*.mp4"))
    encoded, steps = WARM_CLIPS + encoded, WARM_STEPS + steps
    if who == "peer":
        from tests.benchmarks.nodes_peer import peer

        return peer(nodes, folder, videos, encoded, steps)
    with tempfile.TemporaryDirectory(prefix="ray-") as apart:
        # A cluster writes its address where others would look for one to join: not there.
        os.environ["RAY_TMPDIR"] = apart
        os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
        return on_nodes(nodes, folder, videos, encoded, steps)


def on_nodes(nodes: int, folder: Path, videos: Sequence[Path], encoded: int, steps: int) -> dict[str, float]:
    """The product's own stages, on a Ray of so many nodes."""
    import ray
    from ray.cluster_utils import Cluster

    from catalog.store import Catalog
    from jobs.profile import load_profile
    from jobs.train import run_settings
    from pipeline.embed import embed
    from pipeline.encode import encode
    from pipeline.ingest import ingest
    from pipeline.prepare import prepare_run
    from pipeline.sources.source import Source
    from training.run.watch import read_rows

    profile = load_profile("tiny", settings_for(nodes, steps))
    store = {"object_store_memory": 3 * 10**8}
    machines = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store}
    )
    whole = os.sched_getaffinity(0)
    for core in cores()[:nodes]:
        os.sched_setaffinity(0, {core})  # its processes have what it has
        machines.add_node(num_cpus=1, **store)
    os.sched_setaffinity(0, whole)
    machines.wait_for_nodes()
    ray.init(address=machines.address, log_to_driver=False)

    catalog = Catalog.create(folder / f"catalog-{nodes}", profile.clip)
    sources = [Source(str(file)) for file in videos]
    ingest(sources[:WARM_CLIPS], catalog, profile.ingest)
    began = monotonic()
    ingest(sources[WARM_CLIPS:], catalog, profile.ingest)
    rates = {"ingest": (len(videos) - WARM_CLIPS) / (monotonic() - began)}
    for name, work in (
        ("embed", lambda clock: embed(catalog, profile.embed, clock)),
        ("encode", lambda clock: encode(catalog, profile.backbone, profile.encode, clock)),
    ):
        clock = Clock()
        work(clock)
        rates[name] = clock.rate()
        if name == "embed":
            give_categories(catalog, encoded)
    result = prepare_run(catalog, folder / f"runs-{nodes}", run_settings(profile)).train()
    rows = read_rows(result.metrics_path)[WARM_STEPS:]
    rates["train"] = median(row["samples_per_second"] for row in rows)
    ray.shutdown()
    machines.shutdown()
    return {name: round(rate, 4) for name, rate in rates.items()}


def give_categories(catalog: "Catalog", encoded: int) -> None:
    """Two, of clips none of which is held out: what has none is not encoded."""
    ids = sorted(catalog.distinct("clips", "clip_id"))[:encoded]
    rows = [
        {"clip_id": clip, "category_id": ("even", "odd")[at % 2], "split": "train"}
        for at, clip in enumerate(ids)
    ]
    catalog.update("clips", rows)


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0))


class Clock:
    """A Progress that knows how fast the second half went, when every worker had long begun."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def __call__(self, done: int, total: int | None, facts: dict) -> None:
        self._marks.append((monotonic(), done))

    def rate(self) -> float:
        """Clips a second."""
        ended, last = self._marks[-1]
        began, first = next(mark for mark in self._marks if mark[1] >= last // 2)
        return (last - first) / (ended - began)


if __name__ == "__main__":
    main()
