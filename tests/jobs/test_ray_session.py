"""A local Ray and what becomes of it when its driver ends in other ways than its own."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from jobs.reaper import marked
from tests.jobs.plain_ray import plain_ray

pytestmark = [pytest.mark.slow]

DRIVER = """
import logging, sys, time
from jobs.console import err
from jobs.interrupts import leave_once
from jobs.log import log_json
from jobs.ray_session import ray_session
leave_once()
def formats():
    return [type(each.formatter).__name__ for each in logging.root.handlers]
if len(sys.argv) > 1:
    log_json(err)
try:
    with ray_session(*sys.argv[1:]):
        import ray
        print("workers", ray.get(ray.remote(num_cpus=1)(lambda: "work").remote()), flush=True)
        print(ray.get(ray.remote(num_cpus=1)(formats).remote())[-1:], formats(), flush=True)
        time.sleep(600 if len(sys.argv) == 1 else 0)
except KeyboardInterrupt:
    time.sleep(2)
    print("left in order", flush=True)
"""


def driver(*words: str, **pipes) -> subprocess.Popen[str]:
    """A process that has started or joined a Ray and seen a worker work."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *words], stdout=subprocess.PIPE, text=True, **pipes
    )
    assert process.stdout.readline() == "workers work\n"
    return process


def mark_of(process: subprocess.Popen[str]) -> str:
    """What everything that the driver's Ray started carries in its environment."""
    for child in psutil.Process(process.pid).children():
        if (words := child.cmdline()) and words[-1].startswith("VIDEO2LORA_RAY="):
            return words[-1]
    raise AssertionError("nothing watches this driver")


def none_left(mark: str) -> bool:
    """Whether all processes of a Ray are gone after a while that its agents alone would outlast."""
    for _ in range(100):
        if not marked(mark):
            return True
        time.sleep(0.25)
    return False


def test_a_killed_driver_leaves_no_process_of_its_ray():
    process = driver()
    mark = mark_of(process)
    assert len(marked(mark)) >= 4  # the two servers and the two agents, at least
    process.kill()
    process.wait()
    assert none_left(mark)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_three_interrupts_in_a_row_are_one_way_out_that_leaves_nothing(sent):
    process = driver(stderr=subprocess.PIPE)
    mark = mark_of(process)
    for _ in range(3):
        process.send_signal(sent)
        time.sleep(0.3)
    said, wrong = process.communicate(timeout=120)
    assert "left in order" in said
    assert "Still stopping" in wrong and "Traceback" not in wrong
    assert process.returncode == 0
    assert none_left(mark)


@pytest.fixture
def plain_cluster(tmp_path):
    """The address of what `ray start --head` starts on a machine whose Ray has a token."""
    with plain_ray(tmp_path / "log.txt") as running:
        yield running.head


def test_a_cluster_that_asks_for_this_machines_token_is_joined_and_its_workers_write_json(plain_cluster):
    joined = driver(plain_cluster)
    assert joined.stdout.readline() == "['JSONFormatter'] ['NoneType']\n"  # of the workers, and here ours
    assert joined.wait(timeout=120) == 0
