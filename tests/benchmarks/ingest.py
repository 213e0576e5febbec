"""Processor seconds per clip of ingestion against the bare ffmpeg command.

`python -m tests.benchmarks.ingest FOLDER`. Both decode the same files, pick 49 frames over the whole clip,
scale, crop and encode them with the same x264 settings on one thread; ingestion also hashes, probes, scores
and makes a poster and an effect strip. Some of them also go through the whole stage on Ray and through
`ray.data.read_videos` with the same encoder. Prints one JSON object as its last line.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.intake.stat import hashed
from pipeline.sources.survey import discover
from pipeline.video.decode import decode_clip
from pipeline.video.fastread import is_ordinary
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.plan import TooFewFrames, plan_frames
from pipeline.video.planes import frame_of, luma, to_rgb
from pipeline.video.probe import probe
from pipeline.video.quality import colours, score
from pipeline.video.rejection import Rejection
from pipeline.video.strip import strip_of_planes
from pipeline.video.transcode import PRESET, encode_planes, encode_poster

SPEC = ClipSpec()
STEPS = ("hash", "probe", "decode", "score", "poster", "strip", "encode")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", help="videos to convert", nargs="?", default=os.environ.get("VIDEO2LORA_CORPUS")
    )
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--on-ray", type=int, default=12, help="files for the comparison with read_videos")
    arguments = parser.parse_args()
    sources = discover(arguments.folder, layout="folder")
    files = [Path(source.uri) for source in sources[:: max(1, len(sources) // arguments.limit)]]
    steps, theirs, clips, ordinary = dict.fromkeys(STEPS, 0.0), 0.0, 0, []
    for file in files:
        spent = ours(file)
        if spent is None:
            continue
        for name, seconds in spent["steps"].items():
            steps[name] += seconds
        theirs += bare(file, spent["frames"], spent["last"])
        clips += 1
        if spent["ordinary"]:
            ordinary.append(file)
    total = sum(steps.values())
    report = {
        "clips": clips,
        "ingest_cpu_seconds_per_clip": round(total / clips, 4),
        "ffmpeg_cpu_seconds_per_clip": round(theirs / clips, 4),
        "ratio": round(total / theirs, 3),
        "steps": {name: round(seconds / clips, 4) for name, seconds in steps.items()},
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if arguments.on_ray:
        from tests.benchmarks.ray_peer import beside_ray_data

        with tempfile.TemporaryDirectory() as folder:
            # Of other files `read_videos` makes an error that ends the run.
            few = ordinary[:: max(1, len(ordinary) // (arguments.on_ray + 1))][: arguments.on_ray + 1]
            report["ray_data"] = beside_ray_data(few, SPEC, Path(folder))
    print(json.dumps(report))


def ours(file: Path) -> dict | None:
    """Processor seconds of every step of one clip; None where it makes none."""
    settings, steps = NormaliseSettings(), {}
    clock = time.process_time

    def timed(name, act, *arguments):
        began = clock()
        result = act(*arguments)
        steps[name] = clock() - began
        return result

    timed("hash", hashed, str(file))
    with file.open("rb") as opened:
        try:
            facts = timed("probe", probe, opened, settings.limits)
            (plan,) = plan_frames(facts.timestamps, SPEC, "uniform", settings.min_frames)
            frames = timed("decode", decode_clip, opened, facts, plan.indices, SPEC, "crop")
        except (Rejection, TooFewFrames):
            return None
    distinct = np.unique(plan.indices, return_index=True)[1]
    timed("score", lambda: (score(luma(frames[distinct])), colours(frames[distinct])))
    timed("poster", lambda: encode_poster(to_rgb(frame_of(frames[len(frames) // 2]))))
    timed("strip", strip_of_planes, frames)
    timed("encode", encode_planes, frames, SPEC.fps, settings.crf)
    ordinary = file.suffix == ".mp4" and is_ordinary(facts)
    return {"steps": steps, "ordinary": ordinary, "frames": len(facts.timestamps), "last": float(plan.end)}


def bare(file: Path, frames: int, last: float) -> float:
    """Processor seconds of the ffmpeg command for the same conversion."""
    rate = (SPEC.num_frames - 1) / max(last, 1e-3)
    size = f"{SPEC.width}:{SPEC.height}"
    cover = f"scale={size}:force_original_aspect_ratio=increase,crop={size}"
    filters = f"fps={rate:.6f},{cover},settb=1/{SPEC.fps},setpts=N"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-i", str(file), "-an"]
    command += ["-vf", filters, "-filter_threads", "1", "-frames:v", str(SPEC.num_frames), "-c:v", "libx264"]
    command += ["-r", str(SPEC.fps), "-preset", PRESET, "-crf", str(NormaliseSettings().crf), "-threads", "1"]
    command += [
        "-x264-params",
        "mbtree=0",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "mp4",
        "-movflags",
        "frag_keyframe",
        "pipe:1",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
