"""The peak that a report names is the memory of everything the job started."""

import subprocess
import sys
import time

import pytest

from jobs.peak_memory import ClusterWatch, MemoryWatch


def test_the_memory_of_a_child_counts():
    child = (
        "x = bytearray(300 * 2**20); x[::4096] = b'1' * len(x[::4096]); print('ready', flush=True); input()"
    )
    with MemoryWatch(interval=0.05) as watch:
        time.sleep(0.2)
        before = watch.peak_mb
        process = subprocess.Popen(
            [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        while watch.peak_mb - before <= 290:  # until it is seen; a watch that never sees it hangs here
            time.sleep(0.05)
        process.communicate("\n")


@pytest.mark.slow
def test_the_memory_of_workers_on_every_node_of_a_cluster_counts(ray_cluster):
    watch = ClusterWatch(interval=0.05)
    (first,) = watch.peaks_mb(patience=600).values()

    @ray_cluster.remote(num_cpus=1)
    class Holding:
        def __init__(self):
            self.held = bytearray(300 * 2**20)
            self.held[::4096] = b"1" * len(self.held[::4096])

        def ready(self):
            return True

    holding = Holding.remote()
    assert ray_cluster.get(holding.ready.remote())
    while next(iter(watch.peaks_mb(patience=600).values())) - first <= 290:  # hangs where it is never seen
        time.sleep(0.05)
    watch.look()
    assert len(watch.peaks_mb(patience=600)) == 1
