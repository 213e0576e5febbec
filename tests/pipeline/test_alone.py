"""Two processes that want the same folder."""

import subprocess
import sys

import pytest

from pipeline.alone import Busy, alone_in

HOLD = """
import pathlib, sys
from pipeline.alone import alone_in
with alone_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_process_is_told_who_holds_a_folder_and_gets_it_when_that_one_was_killed(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipes)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=f"{tmp_path.name} is worked on by process {first.pid} on "):
        alone_in(tmp_path).__enter__()
    first.kill()
    first.communicate()
    with alone_in(tmp_path):
        pass
