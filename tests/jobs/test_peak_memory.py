"""The peak that a report names is the memory of everything the job started."""

import subprocess
import sys
import time

from jobs.peak_memory import MemoryWatch


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
