import threading

import pytest
import ray

from pipeline.embed import embed
from pipeline.embedding.settings import EmbedSettings
from pipeline.workers.room import NoRoom, WaitingWatch, require_devices, require_memory, require_processors
from tests.pipeline.made import make_catalog

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_what_no_machine_can_hold_is_refused_with_the_setting_that_asks_for_less():
    with pytest.raises(NoRoom, match=r"asks for \d+ MB .*--set ingest\.worker_memory_mb=\d+"):
        require_memory(2**60, "ingest.worker_memory_mb")
    require_memory(2**20, "ingest.worker_memory_mb")


def test_a_stage_that_asks_for_gpus_where_there_are_none_does_not_wait_for_one(tmp_path):
    settings = EmbedSettings(model="tiny", pretrained="random:0", gpus_per_actor=1)
    with pytest.raises(
        NoRoom, match=r"asks for 1 GPU .*`--set embed\.gpus_per_actor=0`, which works on proc"
    ):
        embed(make_catalog(tmp_path, {"a": ("melt", "melt")}), settings)


def test_more_processors_than_any_machine_has_are_refused():
    require_devices(4, 0, "encode")
    with pytest.raises(NoRoom, match=r"encode\.cpus_per_actor asks for 64 CPU .*=4`"):
        require_devices(64, 0, "encode")


def test_workers_that_leave_nothing_to_what_feeds_them_are_refused_with_what_does():
    require_processors(2, 1.5, 0.1)
    with pytest.raises(NoRoom, match=r"all of the cluster's 4 processors.*--set train\.worker_cpus=1\.95`"):
        require_processors(2, 2.0, 0.1)


def test_a_run_that_waits_for_memory_says_so():
    told, heard = [], threading.Event()

    def tell(reason: str) -> None:
        told.append(reason)
        heard.set()

    memory = int(ray.available_resources()["memory"])

    @ray.remote(num_cpus=0, memory=memory)
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    try:
        with WaitingWatch(memory, tell, patience=0.2):
            assert heard.wait(60)
    finally:
        ray.kill(holder)
    assert f"on {memory // 2**20} MB of memory, 0 are free" in told[0]


def test_a_run_to_which_results_come_says_nothing():
    told = []
    with WaitingWatch(1, told.append, patience=60) as watch:
        watch.came()
    assert told == []
