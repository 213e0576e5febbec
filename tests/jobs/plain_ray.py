"""What `ray start --head` starts, as a person starts it: a process of its own, with this machine's token."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from jobs.reaper import marked


@dataclass(frozen=True)
class PlainRay:
    """Addresses of a running Ray: its head, and its dashboard where it has one."""

    head: str
    dashboard: str


@contextmanager
def plain_ray(log: Path, dashboard: bool = False) -> Iterator[PlainRay]:
    """A Ray of one logical CPU until the block ends; of its processes none stays."""
    port, server, agent = (free_port() for _ in range(3))
    words = ["start", "--head", "--block", "--port", str(port), "--num-cpus", "1", "--disable-usage-stats"]
    words += ["--node-ip-address", "127.0.0.1", "--object-store-memory", str(100 * 2**20)]
    words += ["--include-dashboard", str(dashboard).lower(), "--dashboard-port", str(server)]
    # Its usual port is that of whichever Ray of this machine was first, and without it no job is taken.
    words += ["--dashboard-agent-listen-port", str(agent)]
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"PLAIN_CLUSTER": str(port)}
    # Where else would the job find `python`: people start Ray from an environment that is active.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with log.open("wb") as output:
        ray = str(Path(sys.executable).with_name("ray"))
        running = subprocess.Popen([ray, *words], stdout=output, stderr=output, env=environment)
    try:
        while "ray stop" not in log.read_text():
            assert running.poll() is None, log.read_text()
            time.sleep(0.2)
        yield PlainRay(f"127.0.0.1:{port}", f"http://127.0.0.1:{server}")
    finally:
        running.terminate()
        running.wait(timeout=60)
        for pid in marked(f"PLAIN_CLUSTER={port}"):
            psutil.Process(pid).kill()


def free_port() -> int:
    """A port that is free, and none of those that Ray gives its workers."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        if not 10002 <= port <= 19999:
            return port
