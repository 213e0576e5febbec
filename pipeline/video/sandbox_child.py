"""What touches untrusted bytes: `python -m pipeline.video.sandbox_child FD`, a process that `Sandbox` starts.

It is handed open files over a socket and answers with numbers and compressed bytes.
"""

import importlib
import io
import os
import pkgutil
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.vocabulary import Outcome
from pipeline.errors import BadSource
from pipeline.video import fastread, lockdown, wire
from pipeline.video.normalise import NormaliseSettings, normalise
from pipeline.video.picture import read_picture
from pipeline.video.rejection import Rejection
from pipeline.video.sandbox import PICTURE
from pipeline.video.transcode import encode_video

_STATUS = Path("/proc/self/status")


def main(descriptor: int) -> None:
    av.logging.set_level(None)
    fastread.silence()
    channel = socket.socket(fileno=descriptor)
    hello, _ = wire.receive(channel)
    spec = ClipSpec(**hello["spec"])
    settings = NormaliseSettings.model_validate(hello["settings"])
    _warm_up()
    status = os.open(_STATUS, os.O_RDONLY) if _STATUS.exists() else None
    lockdown.limit_memory(settings.limits.memory_mb)
    confined = lockdown.confine()
    wire.send(channel, {"ready": os.getpid(), "confined": confined})
    while True:
        # One short line, and the next request only comes after our answer: it is always read whole.
        line, descriptors, _, _ = socket.recv_fds(channel, 256, 1)
        if not descriptors:
            return
        lockdown.limit_time(settings.limits.decode_seconds)
        with os.fdopen(descriptors[0], "rb") as file:
            asked = line.decode().strip()
            if asked == PICTURE:
                answer, body = _picture(file, spec)
            else:
                answer, body = _answer(file, spec, settings, asked or None)
        wire.send(channel, answer | {"peak_rss_mb": _peak_rss_mb(status)}, body)


def _warm_up() -> None:
    """Load everything that is loaded on first use, while files can still be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in ("av.__main__", "av.datasets"):
            importlib.import_module(module.name)
    Image.init()
    for kind in ("PNG", "JPEG"):
        picture = io.BytesIO()
        Image.new("RGB", (32, 32)).save(picture, kind)
        read_picture(picture, ClipSpec(num_frames=9, height=64, width=96))
    frames = np.zeros((9, 64, 96, 3), dtype=np.uint8)
    frames += np.arange(9, dtype=np.uint8)[:, None, None, None]
    video = encode_video(frames, 8)
    normalise(io.BytesIO(video), ClipSpec(num_frames=9, height=64, width=96), NormaliseSettings())


def _peak_rss_mb(status: int | None) -> float:
    """The most memory this process has had; read from an open file, for none can be opened any more."""
    if status is None:
        return 0.0
    for line in os.pread(status, 8192, 0).splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _picture(file, spec: ClipSpec) -> tuple[dict, bytes]:
    try:
        file.seek(0)
        shown = read_picture(file, spec)
    except BadSource as error:
        return {Outcome.REJECTED: "bad_picture", "reason": str(error)}, b""
    except MemoryError:
        return {
            Outcome.QUARANTINED: "too_much_memory",
            "reason": "Decoding it needs more memory than is allowed.",
        }, b""
    if shown is None:
        return {"picture": None}, b""
    return {"picture": shown.shape[:2]}, shown.tobytes()


def _answer(file, spec: ClipSpec, settings: NormaliseSettings, window: str | None) -> tuple[dict, bytes]:
    began, cpu = time.monotonic(), time.process_time()
    try:
        found = normalise(file, spec, settings, window)
    except Rejection as rejection:
        return {Outcome.REJECTED: rejection.code, "reason": rejection.reason}, b""
    except MemoryError:
        return {
            Outcome.QUARANTINED: "too_much_memory",
            "reason": "Decoding it needs more memory than is allowed.",
        }, b""
    clips, body = [], []
    for clip in found.clips:
        numbers = asdict(clip)
        parts = {name: numbers.pop(name) for name in ("video", "poster", "strip")}
        body += parts.values()
        clips.append(numbers | {f"{name}_bytes": len(data) for name, data in parts.items()})
    answer = {
        "facts": found.facts,
        "clips": clips,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    return answer, b"".join(body)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except wire.WireClosed:
        # The parent is gone; there is nobody to tell.
        sys.exit(0)
