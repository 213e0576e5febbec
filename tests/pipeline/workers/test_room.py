import threading

import pytest
import ray

from pipeline.workers.room import NoRoom, WaitingWatch, require_memory

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_what_no_machine_can_hold_is_refused_with_the_setting_that_asks_for_less():
    with pytest.raises(NoRoom, match=r"asks for \d+ MB .*--set ingest\.worker_memory_mb=\d+"):
        require_memory(2**60, "ingest.worker_memory_mb")
    require_memory(2**20, "ingest.worker_memory_mb")


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
