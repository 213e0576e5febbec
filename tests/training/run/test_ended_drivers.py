"""Runs whose driver is killed or interrupted, and drivers that meet at one run.

A driver is a process of its own that joins the tests' Ray, as one joins a cluster.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.run.small_run import StruckStream, assert_same_run, hang, job
from training.run.checkpoint import checkpoint_step, list_checkpoints, newest_checkpoint
from training.run.folder import RunFolder
from training.run.loop import train
from training.run.watch import read_rows

ROOT = Path(__file__).parents[3]


def driver(code: str, *words: str) -> subprocess.Popen[str]:
    """A process that runs the code; its words are in `sys.argv`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, env=environment, **pipes)


@pytest.mark.slow
def test_a_run_whose_driver_is_killed_goes_on_from_the_newest_good_checkpoint_and_ends_the_same(
    ray_cluster, uninterrupted, tmp_path
):
    """What it wrote last is torn as well, which costs only the steps since the checkpoint before."""
    code = (
        "import ray, sys; from pathlib import Path\n"
        "ray.init(sys.argv[1], log_to_driver=False)\n"
        "from tests.training.run.small_run import StruckStream, hang, job\n"
        "from training.run.loop import train\n"
        "folder = Path(sys.argv[2])\n"
        "train(job(folder), StruckStream(4 * 4, folder / 'waited', hang))\n"
    )
    first = driver(code, ray_cluster.get_runtime_context().gcs_address, str(tmp_path))
    while len(list_checkpoints(tmp_path / "checkpoints")) < 3 and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    *_, before, newest = list_checkpoints(tmp_path / "checkpoints")
    with (newest / "shard-00000-of-00001.safetensors").open("r+b") as file:
        file.truncate(100)
    again = train(job(tmp_path), StruckStream(4 * 4, tmp_path / "waited", hang))
    assert again.resumed_from == checkpoint_step(before) == 3
    assert_same_run(tmp_path, uninterrupted(1).metrics_path.parent)


@pytest.mark.slow
def test_an_interrupted_run_saves_what_it_did_and_says_what_is_done_again(ray_cluster, tmp_path):
    code = (
        "import ray, signal, sys; from pathlib import Path\n"
        "ray.init(sys.argv[1], log_to_driver=False)\n"
        # What runs in the background is started with SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.training.run.toy import ToyStream, toy_job\n"
        "from training.run.loop import train\n"
        "try: train(toy_job(Path(sys.argv[2]), checkpoint_every=100), ToyStream(seconds=1.0))\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    running = driver(code, ray_cluster.get_runtime_context().gcs_address, str(tmp_path))
    while len(read_rows(tmp_path / "metrics.jsonl")) < 2 and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, said = running.communicate()
    assert "interrupted" in out, said
    step = checkpoint_step(newest_checkpoint(tmp_path / "checkpoints"))
    assert step == len(read_rows(tmp_path / "metrics.jsonl")) >= 2
    assert f"Step {step} is saved" in said
    assert "nothing will be done again" in said


def test_a_second_train_of_a_run_is_told_who_trains_it_and_stops(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.training.run.toy import ToyStream, toy_job\n"
        "from training.errors import TrainingError\n"
        "from training.run.loop import train\n"
        "try: train(toy_job(Path(sys.argv[1])), ToyStream())\n"
        "except TrainingError as error: print(error)\n"
    )
    with RunFolder(tmp_path, "first").held():
        said, wrong = driver(code, str(tmp_path)).communicate()
    assert f"is being trained by process {os.getpid()} on" in said, wrong
    assert not (tmp_path / "ray").exists()
    with RunFolder(tmp_path, "second").held():
        pass
