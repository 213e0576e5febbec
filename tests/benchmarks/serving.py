"""Requests through a server that is killed: `python -m tests.benchmarks.serving [--requests N]`, JSON.

A catalogue is made, `video2lora serve` serves it with the pocket model in two steps, and N requests are sent
with idempotency keys. When a third of them is done and one is being made, the server is killed (SIGKILL) and
started again. `lost` are requests that did not come to an end, `again` those that were done before the kill
and are not now as they were then, `twice` those of which two attempts wrote a video, `resumed` those that a
second worker began. Seconds are by this machine's clock; `warm` is what a request pays before its first step
where the model stays loaded. `adapter_swap` is what it costs to put another adapter under the model, as a
share of a whole generation of fifty steps.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from jobs.serve import REQUESTS
from tests.pipeline.made import make_catalog

SETTINGS = (
    *("clip.height=64", "clip.width=96"),
    *("generate.steps=2", "generate.guidance=1.0", "serve.claim_seconds=4"),
    *("serve.max_queued=500", "serve.max_per_user=500", "serve.per_minute=10000"),
)
LOOKS = ("melt", "explode", "freeze", "glow")


class Server:
    """`video2lora serve` as a process of its own."""

    def __init__(self, workdir: Path, *options: str) -> None:
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        video2lora = str(Path(sys.executable).with_name("video2lora"))
        command = [video2lora, "serve", "-w", str(workdir), "--port", "0", *options]
        self.log = (workdir / "server.log").open("a")
        self.process = subprocess.Popen(
            [*command, "--model", "pocket", *settings],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"Open (http://\S+)", line):
                self.address = found[1]
                return
        raise RuntimeError((workdir / "server.log").read_text()[-2000:])

    def end(self, number: int = signal.SIGINT) -> int:
        """End it; returns its status."""
        self.process.send_signal(number)
        status = self.process.wait(120)
        self.log.close()
        return status


def seen(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """All requests by id."""
    return {each["id"]: each for each in client.get("/api/requests?limit=1000").json()["requests"]}


def until(client: httpx.Client, done: int, seconds: float, busy: bool = False) -> dict[str, dict[str, Any]]:
    """Wait until so many have ended and, where `busy`, another one is being made."""
    patient_until = time.monotonic() + seconds
    while True:
        now = seen(client)
        states = [each["state"] for each in now.values()]
        ended = sum(state not in ("queued", "running") for state in states)
        if ended >= done and ("running" in states or not busy):
            return now
        if time.monotonic() > patient_until:
            raise TimeoutError(json.dumps({each["id"]: each["state"] for each in now.values()}))
        time.sleep(0.2)


def through_a_kill(folder: Path, count: int, seconds: float) -> dict[str, Any]:
    """The figures of `count` requests through a server that is killed when a third of them is done."""
    make_catalog(folder, {f"{look}{n}": (look, look) for look in LOOKS for n in range(2)})
    began = time.monotonic()
    server = Server(folder)
    ids = []
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for n in range(count):
            body = {
                "reference_clip": f"{LOOKS[n % 4]}0",
                "first_frame_clip": f"{LOOKS[(n + 1) % 4]}1",
                "prompt": f"scene {n}",
                "seed": n,
            }
            ids.append(send(client, body, n))
        before = until(client, max(1, count // 3), seconds, busy=True)
    server.end(signal.SIGKILL)
    killed, videos_then = time.monotonic(), written(folder)
    server = Server(folder)
    with httpx.Client(base_url=server.address, timeout=60) as client:
        # Who is not sure that his request came through sends it again.
        repeated = [send(client, {"reference_clip": "melt0", "first_frame_clip": "explode1"}, 0, said=422)]
        after = until(client, count, seconds)
        videos = [client.get(f"/api/requests/{each}/content") for each in ids]
    ended = time.monotonic()
    status = server.end()
    attempts = Counter(name.partition("-")[0] for name in videos_then | written(folder))
    finished = {key: each for key, each in before.items() if each["state"] == "done"}
    results = [each["result"]["seconds"] for each in after.values() if each["state"] == "done"]
    return {
        "requests": count,
        "done": sum(each["state"] == "done" for each in after.values()),
        "lost": len(set(ids) - {key for key, each in after.items() if each["state"] == "done"}),
        "videos": sum(video.status_code == 200 for video in videos),
        "done_before_the_kill": len(finished),
        "again": sum(after[key] != each for key, each in finished.items()),
        "twice": sum(number > 1 for number in attempts.values()),
        "resumed": sum(each["attempt"] > 1 for each in after.values()),
        "other_request_under_a_known_key": len(repeated),
        "status_after_ctrl_c": status,
        "seconds": round(ended - began, 1),
        "seconds_after_the_kill": round(ended - killed, 1),
        "generate": round(float(np.median([each["generate"] for each in results])), 3),
        "warm": round(float(np.median([each["load"] for each in results])), 3),
    }


def written(folder: Path) -> set[str]:
    """The names of the videos that are there: a request's id, and which attempt's it is."""
    return {file.name for file in (folder / REQUESTS).glob("*-*.mp4")}


def send(client: httpx.Client, body: dict[str, Any], number: int, said: int = 202) -> str:
    """Ask for a clip under the key of that number."""
    answer = client.post("/api/requests", json=body, headers={"idempotency-key": f"bench-{number}"})
    if answer.status_code != said:
        raise RuntimeError(f"{answer.status_code}: {answer.text}")
    return str(answer.json().get("id"))


def adapter_swap(folder: Path, times: int = 50) -> dict[str, float]:
    """Seconds of putting an adapter under the model and of a generation; the one as a share of the other."""
    from pipeline.models import find_model
    from pipeline.studio import Studio
    from training.settings import GenerateSettings

    catalog = make_catalog(folder, {"melt0": ("melt", "melt"), "glow0": ("glow", "glow")})
    release = find_model(catalog, folder / "models", "pocket")
    studio = Studio(catalog, release, settings=GenerateSettings(steps=50, guidance=1.0))
    conditions = [studio.adapter(name).condition for name in ("melt0", "glow0")]
    began = time.perf_counter()
    for n in range(times):
        with studio.method.under(conditions[n % 2]):
            pass
    swap = (time.perf_counter() - began) / times
    began = time.perf_counter()
    studio.make("melt0", "glow0", "a mug")
    whole = time.perf_counter() - began
    return {"swap": round(swap, 6), "generation": round(whole, 3), "share": round(swap / whole, 6)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1200, help="to wait for them")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        figures = through_a_kill(Path(one), asked.requests, asked.seconds)
        figures["adapter_swap"] = adapter_swap(Path(other))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
