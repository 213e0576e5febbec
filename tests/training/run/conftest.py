"""What runs of the loop are compared with."""

from collections.abc import Callable

import pytest

from tests.training.run.small_run import job
from tests.training.small import SmallStream
from training.run.job import TrainResult
from training.run.loop import train


@pytest.fixture(scope="session")
def uninterrupted(ray_cluster, tmp_path_factory) -> Callable[[int], TrainResult]:
    """By number of workers: the result of a run that nothing happened to. Run once each."""
    results: dict[int, TrainResult] = {}

    def run(workers: int) -> TrainResult:
        if workers not in results:
            folder = tmp_path_factory.mktemp(f"uninterrupted-{workers}")
            results[workers] = train(job(folder, workers), SmallStream())
        return results[workers]

    return run
