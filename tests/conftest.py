"""Fixtures that every room shares: a local Ray, a catalogue, the corpus where it exists."""

import os
from pathlib import Path

import pytest

# Before torch or Ray are imported: two cores are shared by everything a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """A local Ray of four logical CPUs, shut down with the test session."""
    import ray

    ray.init(
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=512 * 1024**2,
        namespace=f"tests-{os.getpid()}",
        log_to_driver=False,
        configure_logging=False,
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real videos named by VIDEO2LORA_CORPUS; the test is skipped where there is none."""
    folder = os.environ.get("VIDEO2LORA_CORPUS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("VIDEO2LORA_CORPUS names no folder")
    return Path(folder)
