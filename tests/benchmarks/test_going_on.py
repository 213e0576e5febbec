"""Ctrl-C of a benchmark that keeps its work."""

import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_benchmark_says_that_it_goes_on_and_shows_no_traceback(number):
    program = (
        "import time\n"
        "from tests.benchmarks.going_on import going_on\n"
        "going_on(lambda: (print('begun', flush=True), time.sleep(60)))"
    )
    words = [sys.executable, "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **pipes, text=True) as running:
        assert running.stdout.readline() == "begun\n"
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == "Stopped. What is done is kept, and the same command goes on from there.\n"
