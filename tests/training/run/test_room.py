"""Workers that no machine has a place for are refused before Ray would wait for them."""

import pytest

from tests.training.run.small_run import job
from tests.training.small import SmallStream
from training.run.loop import train
from training.run.room import NoWorkers, places

GPU_WORKER = {"CPU": 2.0, "GPU": 1}


def test_places_are_counted_by_what_a_worker_lacks_first():
    machines = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 8.0}, {"CPU": 64.0}]
    assert places(machines, GPU_WORKER) == 2 + 1
    assert places([{"CPU": 1.0}], {"CPU": 0.1}) == 10
    assert places([], GPU_WORKER) == 0


def test_a_run_that_asks_for_gpus_where_there_are_none_is_one_sentence(ray_cluster, tmp_path):
    with pytest.raises(NoWorkers, match=r"the cluster has none\. .*--set train\.device=cpu"):
        train(job(tmp_path, device="cuda"), SmallStream())


def test_more_workers_than_the_cluster_has_room_for_are_one_sentence(ray_cluster, tmp_path):
    with pytest.raises(NoWorkers, match=r"4 workers are asked for, .* processors for 2\. .*`--workers 2`"):
        train(job(tmp_path, workers=4, worker_cpus=2.0), SmallStream())
