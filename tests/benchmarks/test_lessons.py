"""That the comparison of lessons runs, and tells what each way took and came to."""

import pytest

from tests.benchmarks import lessons
from tests.jobs.test_train import CLIPS, TINY, fill
from training.backbones.registry import locate_backbone
from training.settings import PolishSettings


@pytest.mark.slow
def test_every_lesson_of_a_way_is_taken_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "POLISH", PolishSettings(steps=1, batch_size=1))
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")  # put back as they were
    fill(tmp_path, CLIPS, locate_backbone(TINY).encoder_id)
    told = lessons.main([str(tmp_path), "--seconds", "0.1", "--only", "polished"])["polished"]
    assert [told[f"{name} steps"] for name in ("first pairs", "weights", "pairs")] == [1, 1, 1]
    assert told["adapters"] == 2 and told["pairs_seen"] == 2 and told["pairs_unseen"] == 3
    assert {"gap_seen", "gap_seen after weights"} <= told.keys()
