"""Fixtures that every room shares: a local Ray, a catalogue, the corpus where it exists."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Before torch or Ray are imported: two cores are shared by everything a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
# Ray Train looks every two seconds whether its workers are done, and has an actor that waits for a cloud to
# take machines away.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What a local stand-in for S3 takes for credentials; set before Ray starts, whose workers inherit them.
os.environ.setdefault("AWS_ACCESS_KEY_ID", "tests")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "tests")
os.environ.setdefault("AWS_REGION", "us-east-1")


# How long an example takes says nothing where others work beside it, and a test that failed here has to fail
# there too: the same examples everywhere. `--hypothesis-profile default` draws others.
settings.register_profile(
    "everywhere", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("everywhere")


# Files of more than a minute, the longest first: `make test` hands whole files to two processes in this
# order, so that neither ends long before the other.
LONGEST = (
    "tests/jobs/web/test_requests_worked_off.py",
    "tests/jobs/test_run.py",
    "tests/jobs/test_serve.py",
    "tests/jobs/test_evaluate.py",
    "tests/pipeline/test_lost_nodes.py",
    "tests/training/run/test_lost_workers.py",  # the first of three that share what they compare with
    "tests/training/run/test_loop.py",
    "tests/training/run/test_ended_drivers.py",
    "tests/benchmarks/test_methods.py",
    "tests/pipeline/pocket/test_learning.py",
    "tests/jobs/test_train.py",
    "tests/training/run/test_engine.py",
    "tests/training/run/test_bucket.py",
    "tests/jobs/test_retrain.py",
    "tests/jobs/test_train_wan.py",
    "tests/pipeline/pairing/test_stream.py",
    "tests/pipeline/test_studio.py",
    "tests/pipeline/test_batch.py",
    "tests/jobs/test_adapter.py",
    "tests/jobs/test_lessons.py",
    "tests/pipeline/editing/test_batch.py",
    "tests/jobs/web/test_browser.py",
)


def pytest_collection_modifyitems(config, items):
    """In one process tests run in the order of their folders."""
    if missing := [file for file in LONGEST if not (config.rootpath / file).exists()]:
        raise pytest.UsageError(f"tests/conftest.py names {missing[0]} among the longest; it is not there.")
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {config.rootpath / file: number for number, file in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What a test or its fixtures draw without a seed does not depend on the tests before."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """A local Ray of four logical CPUs, shut down with the test session."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=512 * 1024**2,
        namespace=f"tests-{os.getpid()}",
        log_to_driver=False,
        configure_logging=False,
    )
    yield ray
    ray.shutdown()


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of its own that is full after 64 kB; the test is skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real videos named by VIDEO2LORA_CORPUS; the test is skipped where there is none."""
    folder = os.environ.get("VIDEO2LORA_CORPUS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("VIDEO2LORA_CORPUS names no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    """The address of a local server that speaks S3 and forgets everything at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Path(sys.executable).with_name("moto_server")
    with (tmp_path_factory.mktemp("s3") / "log.txt").open("wb") as log:
        running = subprocess.Popen(
            [str(server), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert running.poll() is None, "moto_server does not start"
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.kill()
            running.wait()


@pytest.fixture
def store(s3_endpoint, monkeypatch):
    """What stands before that server, is spoken to in its place, and falters as a test asks."""
    from tests.faulty_store import faulty_store
    from training import objects

    with faulty_store(s3_endpoint) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setattr(objects, "_PAUSE", 0.01)
        yield made


@pytest.fixture(scope="session")
def s3_options(s3_endpoint) -> dict[str, str]:
    """What a catalogue in that server is opened with."""
    return {
        "endpoint": s3_endpoint,
        "allow_http": "true",
        "region": "us-east-1",
        "access_key_id": "tests",
        "secret_access_key": "tests",
    }
