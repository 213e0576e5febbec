"""That the comparison of lessons runs, and tells what each way took and came to."""

import json
import subprocess
import sys

import pytest

from tests.jobs.test_train import CLIPS, TINY, fill
from training.backbones.registry import locate_backbone


@pytest.mark.slow
def test_every_lesson_of_a_way_is_taken_and_told(tmp_path):
    fill(tmp_path, CLIPS, locate_backbone(TINY).encoder_id)
    # a process of its own: DeepSpeed keeps the process group that it met first
    ran = [sys.executable, "-m", "tests.benchmarks.lessons", str(tmp_path)]
    ran += ["--seconds", "0.1", "--polish", "1", "--only", "polished"]
    printed = subprocess.run(ran, capture_output=True, text=True, check=True).stdout
    told = json.loads(printed.splitlines()[-1])["polished"]
    assert [told[f"{name} steps"] for name in ("first pairs", "weights", "pairs")] == [1, 1, 1]
    assert told["adapters"] == 2 and told["pairs_seen"] == 2 and told["pairs_unseen"] == 3
    assert {"gap_seen", "gap_seen after weights"} <= told.keys()
