"""Precision and recall of near-duplicate detection on transformed copies of real clips.

`VIDEO2LORA_CORPUS=… python -m tests.benchmarks.duplicates`. Every chosen clip of `effects/` is copied
re-encoded, resized, trimmed and mirrored; originals and copies are normalised as ingestion does and matched.
A pair of copies of one clip that is found counts for recall, a pair of two different clips that is reported
against precision; such pairs are listed, because two corpus files may really show the same.

Thresholds are looked for on one half of the originals, as the hashes of their names divide them. The figures
that count are those of the other half: with what the tuning half found best, and with the defaults.
Prints one JSON object as its last line.
"""

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from catalog.clip_spec import ClipSpec
from pipeline.curation.duplicates import DuplicateSettings, Signature, distance, find_matches
from pipeline.sources.survey import discover
from pipeline.video.decode import decode_clip
from pipeline.video.normalise import NormaliseSettings
from pipeline.video.plan import TooFewFrames, plan_frames
from pipeline.video.planes import luma
from pipeline.video.probe import probe
from pipeline.video.quality import colours, score
from pipeline.video.rejection import Rejection

SPEC = ClipSpec()
HALVES = ("tuning", "held-out")
DEFAULTS = DuplicateSettings()
GRID = [DuplicateSettings(mean_bits=m, worst_bits=w) for m in (4, 5, 6, 7, 8, 9, 10) for w in (9, 12, 15)]
# What becomes of a copy, as ffmpeg arguments; {n} and {m} are fractions of its length.
KINDS = {
    "re-encoded": ["-crf", "33"],
    "resized": ["-vf", "scale=trunc(iw*0.3)*2:trunc(ih*0.3)*2", "-crf", "23"],
    "trimmed end": ["-t", "0.75"],
    "trimmed both": ["-ss", "0.2", "-t", "0.6"],
    "mirrored": ["-vf", "hflip", "-crf", "23"],
    "mirrored, resized, trimmed": ["-ss", "0.1", "-t", "0.7", "-vf", "hflip,scale=360:-2", "-crf", "28"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("VIDEO2LORA_CORPUS"))
    parser.add_argument("--limit", type=int, default=60, help="originals that are copied")
    parser.add_argument("--originals", type=int, default=10_000, help="files that are looked at at all")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    files = [source.uri for source in discover(Path(arguments.folder) / "effects", layout="folder")]
    files = files[:: max(1, -(-len(files) // arguments.originals))]
    copied = files[:: max(1, -(-len(files) // arguments.limit))]
    with tempfile.TemporaryDirectory() as folder, _pool(arguments.workers) as pool:
        originals = list(pool.map(read, [(file, file, "original", None) for file in files]))
        jobs = [
            (file, str(Path(folder) / f"{number}-{at}.mp4"), kind, made[2])
            for number, file in enumerate(copied)
            if (made := originals[files.index(file)])
            for at, kind in enumerate(KINDS)
        ]
        read_ = [made for made in (*originals, *pool.map(read, jobs)) if made]
    halves = {name: [made for made in read_ if half_of(made[0]) == name] for name in HALVES}
    tried = {settings: measure(halves["tuning"], settings) for settings in GRID}
    best = max(tried, key=lambda settings: f1(tried[settings]))
    report = {
        "chosen_on_tuning": {name: getattr(best, name) for name in ("mean_bits", "worst_bits")},
        "tuning_f1": {"chosen": f1(tried[best]), "defaults": f1(measure(halves["tuning"], DEFAULTS))},
        "held_out": measure(halves["held-out"], best),
        "held_out_with_defaults": measure(halves["held-out"], DEFAULTS),
    }
    print(json.dumps(report))


def half_of(original: str) -> str:
    """The half that an original and its copies belong to: of its name's hash, so it is never another."""
    return HALVES[hashlib.sha256(Path(original).name.encode()).digest()[0] % 2]


def f1(measured: dict) -> float:
    """Harmonic mean of precision and recall."""
    precision, recall = measured["precision_as_labelled"], measured["recall"]
    return round(2 * precision * recall / max(1e-9, precision + recall), 4)


def _pool(workers: int) -> ProcessPoolExecutor:
    # LanceDB's threads do not survive a fork.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def read(job: tuple[str, str, str, float | None]) -> tuple[str, str, float, Signature] | None:
    """(original, kind, seconds, signature) of a file, or of a copy of it made here; None if it has none."""
    original, path, kind, seconds = job
    if kind != "original":
        copy(original, path, KINDS[kind], seconds)
    settings = NormaliseSettings()
    try:
        with Path(path).open("rb") as file:
            facts = probe(file, settings.limits)
            (plan,) = plan_frames(facts.timestamps, SPEC, "uniform", settings.min_frames)
            frames = decode_clip(file, facts, plan.indices, SPEC, "crop")
    except (Rejection, TooFewFrames):
        return None
    distinct = frames[np.unique(plan.indices, return_index=True)[1]]
    words = score(luma(distinct)).phash
    signature = Signature.of(words, plan.start, plan.end, path, colours(distinct))
    return original, kind, facts.duration, signature


def copy(original: str, path: str, how: list[str], seconds: float) -> None:
    """Write a transformed copy; `-ss` and `-t` are shares of its length."""
    how = [str(float(w) * seconds) if how[i - 1] in ("-ss", "-t") else w for i, w in enumerate(how)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-i", original, "-an"]
    command += [*how, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1", path]
    subprocess.run(command, check=False, capture_output=True)


def measure(items: list[tuple[str, str, float, Signature]], settings: DuplicateSettings) -> dict:
    """Recall by kind against the original, precision over all pairs that were found."""
    found = find_matches([item[3] for item in items], settings).copies
    pairs = {(match.one, match.other) for match in found}
    place = {item[0]: number for number, item in enumerate(items) if item[1] == "original"}
    wanted, hit = Counter(), Counter()
    for number, (original, kind, _, _) in enumerate(items):
        if kind != "original":
            wanted[kind] += 1
            hit[kind] += (place[original], number) in pairs
    wrong = [match for match in found if items[match.one][0] != items[match.other][0]]
    confused = Counter(
        tuple(sorted(Path(items[number][0]).name for number in (match.one, match.other))) for match in wrong
    )
    return {
        "originals": len(place),
        "copies": sum(wanted.values()),
        "pairs_found": len(found),
        "recall": round(sum(hit.values()) / max(1, sum(wanted.values())), 4),
        "recall_by_kind": {kind: round(hit[kind] / wanted[kind], 4) for kind in wanted},
        "precision_as_labelled": round(1 - len(wrong) / max(1, len(found)), 4),
        "different_files_matched": [
            {"files": names, "pairs": count, "bits": nearest(items, names)}
            for names, count in confused.most_common()
        ],
    }


def nearest(items, names: tuple[str, str]) -> float | None:
    """Mean bits between two originals, None where only their copies matched."""
    one, other = (next(i[3] for i in items if Path(i[0]).name == name) for name in names)
    bits = [distance(first, other, DuplicateSettings()) for first in (one, one.mirrored())]
    return min((round(value, 2) for value in bits if value is not None), default=None)


if __name__ == "__main__":
    main()
