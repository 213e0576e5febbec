"""Whether ingestion's memory grows with the number of clips, and what a second worker brings.

`python -m tests.benchmarks.ingest_scale --clips 200 2000 --workers 1 2`. Renders tiny videos, every one with
other bytes and pictures, ingests each number of them in a process of its own with a Ray of its own, and takes
the peak of the driver and its decoders and what the object store held at most. Prints one JSON object as its
last line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.video.transcode import encode_video
from tests.benchmarks.ray_peer import Meter

# Small pictures: what is measured is what grows with the number of clips, not what a clip costs.
SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
_PLAIN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--height", type=int, default=SPEC.height, help="of the clips; 480 for real work")
    parser.add_argument(
        "--pin",
        action="store_true",
        help="give every run as many cores as it has workers: its driver and Ray then have no spare one",
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        if arguments.pin:
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[: int(arguments.one[2])])
        print(json.dumps(ingest_one(*arguments.one, height=arguments.height)))
        return
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        render(videos, max(arguments.clips), arguments.height)
        for clips in arguments.clips:
            for workers in arguments.workers:
                catalog = Path(folder) / f"catalog-{clips}-{workers}"
                chosen = [str(videos / f"*[0-9]-of-{clips}-*.mp4"), str(catalog), str(workers)]
                link(videos, clips)
                command = [sys.executable, "-m", "tests.benchmarks.ingest_scale", "--one", *chosen]
                command += ["--height", str(arguments.height), *["--pin"] * arguments.pin]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
                print(json.dumps(runs[-1]), flush=True)
    print(json.dumps({"runs": runs, **compared(runs)}))


def render(folder: Path, count: int, height: int) -> None:
    """Write `count` short videos, each with a background and a path of its own."""
    folder.mkdir()
    width = height * 3 // 2
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        rng = np.random.default_rng(number)
        waves = np.sin(x * rng.uniform(0.02, 0.2) + y * rng.uniform(-0.2, 0.2) + rng.uniform(0, 6))
        base = (127 + 90 * waves).astype(np.uint8)
        frames = np.repeat(np.stack([base, base[::-1], base[:, ::-1]], axis=-1)[None], 20, axis=0)
        for at, frame in enumerate(frames):
            left = int((at * 2 + number) % (width - _PLAIN))
            frame[8 : 8 + _PLAIN, left : left + _PLAIN] = rng.integers(0, 255, 3)
        (folder / f"{number:06}.mp4").write_bytes(encode_video(frames, 8))


def link(folder: Path, clips: int) -> None:
    """Name the first `clips` videos so that one pattern finds them."""
    for number, file in enumerate(sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9].mp4"))[:clips]):
        named = folder / f"{number}-of-{clips}-clips.mp4"
        if not named.exists():
            named.hardlink_to(file)


def ingest_one(pattern: str, catalog: str, workers: str, height: int) -> dict:
    """Ingest what matches in this process, watched."""
    import ray

    from pipeline.ingest import ingest
    from pipeline.sources.survey import discover

    ray.init(
        num_cpus=int(workers),
        include_dashboard=False,
        object_store_memory=256 * 1024**2,
        log_to_driver=False,
        configure_logging=False,
    )
    spec = ClipSpec(num_frames=49, fps=8, height=height, width=height * 3 // 2)
    made = Catalog.create(catalog, spec)
    watch, load = Watch(), os.getloadavg()[0]
    with Meter() as meter:
        report = ingest(discover(pattern), made)
    peak = watch.stop()
    ray.shutdown()
    return {
        "clips": report.counts["accepted"] + report.counts["rejected"],
        "workers": int(workers),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(report.seconds, 2),
        "clips_per_second": round(report.items / report.seconds, 2),
        "normalise_seconds": next(s["seconds"] for s in report.steps if s["name"] == "normalise"),
        "decode_cpu_seconds": round(report.decode_cpu_seconds, 2),
        "cpu_seconds": round(meter.seconds, 2),
        # Processors that worked for this run on average: as many as it has workers, if nobody is in the way.
        "cpus_used": round(meter.seconds / report.seconds, 2),
        "load_before": round(load, 2),
        "decoder_peak_rss_mb": round(report.peak_rss_mb),
        **peak,
    }


class Watch:
    """The most memory that this process, its workers' total and Ray's object store had."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._peaks = {"driver_peak_mb": 0, "workers_peak_mb": 0, "object_store_peak_mb": 0}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict:
        self._ended.set()
        self._thread.join()
        return self._peaks

    def _run(self) -> None:
        import ray

        me = psutil.Process()
        while not self._ended.is_set():
            workers = 0
            for child in me.children(recursive=True):
                try:
                    mine = "ray::" in child.name() or "sandbox_child" in " ".join(child.cmdline())
                    # Without what Ray's object store shares with everybody.
                    workers += (child.memory_info().rss - child.memory_info().shared) * mine
                except psutil.Error:
                    continue  # it ended
            free = ray.available_resources().get("object_store_memory", 0)
            held = ray.cluster_resources().get("object_store_memory", 0) - free
            sizes = (me.memory_info().rss, workers, held)
            for name, size in zip(self._peaks, sizes, strict=True):
                self._peaks[name] = max(self._peaks[name], round(size / 1024**2))
            time.sleep(0.5)


def compared(runs: list[dict]) -> dict:
    """Growth of memory from the smallest to the largest number of clips, and the speed-up of each number."""
    found = {}
    few, many = min(run["clips"] for run in runs), max(run["clips"] for run in runs)
    for name in ("driver_peak_mb", "workers_peak_mb", "object_store_peak_mb"):
        of = {run["clips"]: run[name] for run in runs if run["workers"] == runs[0]["workers"]}
        found[f"{name}_{few}_to_{many}"] = [of.get(few), of.get(many)]
    for clips in sorted({run["clips"] for run in runs}):
        took = {run["workers"]: run["normalise_seconds"] for run in runs if run["clips"] == clips}
        found[f"speed_up_{clips}"] = round(took[min(took)] / took[max(took)], 2)
        # What a second worker costs beside its half of the work; near 1, free processors are put to use.
        spent = {run["workers"]: run["cpu_seconds"] for run in runs if run["clips"] == clips}
        found[f"cpu_growth_{clips}"] = round(spent[max(spent)] / spent[min(spent)], 2)
    return found


if __name__ == "__main__":
    main()
