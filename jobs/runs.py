"""Which runs still run: a row of `runs` names its process, and one whose process is gone was interrupted."""

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from catalog.vocabulary import RunStatus

if TYPE_CHECKING:
    from catalog.store import Catalog

_SAME_START = 2.0  # seconds; a process number that was given out again belongs to a later start


def this_process() -> dict[str, Any]:
    """What tells this process from every other one, for `is_gone`."""
    return {
        "host": socket.gethostname(),
        "pid": psutil.Process().pid,
        "began": psutil.Process().create_time(),
    }


def process_seconds() -> float:
    """How long this process has run, the start of Python included: what a shell's `time` counts."""
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return time.time() - psutil.Process().create_time()
    # psutil adds Linux's time of boot, which is told in whole seconds. Field 22 counts ticks since boot.
    began = int(stat.read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def is_gone(process: dict[str, Any]) -> bool:
    """Whether that process ran on this machine and runs no more; of other machines nothing is known."""
    if process["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["began"]) > _SAME_START
    except psutil.NoSuchProcess:
        return True


def close_forgotten(catalog: "Catalog") -> list[str]:
    """Mark runs that were killed before they could say so; their ids."""
    from lancedb.expr import col

    rows = catalog.scan("runs", ["run_id", "metrics"], col("status") == RunStatus.RUNNING).to_pylist()
    gone = [
        row["run_id"]
        for row in rows
        if (process := json.loads(row["metrics"] or "{}").get("process")) and is_gone(process)
    ]
    if gone:
        ended = {"status": RunStatus.INTERRUPTED, "finished_at": datetime.now(UTC)}
        catalog.update("runs", [{"run_id": run_id} | ended for run_id in gone])
    return gone
