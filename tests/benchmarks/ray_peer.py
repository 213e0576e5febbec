"""Clips made with `ray.data.read_videos` and the same encoder: ingestion without a decoder of its own."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import ray

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.ingest import ingest
from pipeline.sources.source import Source
from pipeline.video.transcode import encode_video


def beside_ray_data(files: Sequence[Path], spec: ClipSpec, folder: Path) -> dict:
    """Processor seconds per clip, of all of Ray's processes, of the same files by both; one logical CPU.

    A first file is done before the clock starts, so that no process's start is counted. What `read_videos`
    gives is a row per frame, so the frames of a video are gathered by `groupby`.
    """
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=3 * 1024**3,
        log_to_driver=False,
        configure_logging=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    catalog = Catalog.create(folder / "catalog", spec)
    warm, measured = files[:1], files[1:]
    acts: dict[str, Callable] = {
        "read_videos": lambda some: read_videos_and_encode(some, spec),
        "ingest": lambda some: ingest([Source(str(file)) for file in some], catalog),
    }
    spent = {}
    for name, act in acts.items():
        act(warm)
        with Meter() as meter:
            act(measured)
        spent[name] = meter.seconds / len(measured)
    ray.shutdown()
    return {
        "clips": len(measured),
        "read_videos_cpu_seconds_per_clip": round(spent["read_videos"], 4),
        "ingest_cpu_seconds_per_clip": round(spent["ingest"], 4),
        "ratio": round(spent["ingest"] / spent["read_videos"], 3),
    }


def read_videos_and_encode(files: Sequence[Path], spec: ClipSpec) -> None:
    """Decode to the clip's size, pick the same number of frames over the whole video, encode."""

    def encode(group: dict[str, np.ndarray]) -> dict[str, list]:
        frames = group["frame"][np.argsort(group["frame_index"])]
        chosen = np.linspace(0, len(frames) - 1, spec.num_frames).round().astype(int)
        return {"video": [encode_video(frames[chosen], spec.fps)]}

    rows = ray.data.read_videos(
        [str(file) for file in files], include_paths=True, resize=(spec.height, spec.width)
    )
    clips = rows.groupby("path").map_groups(encode, batch_format="numpy")
    assert sum(len(batch["video"]) for batch in clips.iter_batches(batch_size=None)) == len(files)


class Meter:
    """Processor seconds of this process's descendants and itself between its two ends."""

    def __enter__(self) -> "Meter":
        self._ended = threading.Event()
        self._seen: dict[int, float] = {}
        self._before = self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()
        self._seen |= self._look()
        self.seconds = sum(spent - self._before.get(pid, 0.0) for pid, spent in self._seen.items())

    def _watch(self) -> None:
        # Processes end on the way; what they had spent was seen shortly before.
        while not self._ended.wait(0.2):
            self._seen |= self._look()

    def _look(self) -> dict[int, float]:
        me, found = psutil.Process(), {}
        for process in (me, *me.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            found[process.pid] = times.user + times.system
        return found
