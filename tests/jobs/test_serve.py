"""`video2lora serve` as people start it: its own process, Ray Serve's replicas, killed and started again."""

import pytest

from tests.benchmarks.serving import through_a_kill

pytestmark = pytest.mark.slow


def test_a_killed_server_loses_no_request_and_does_none_again(tmp_path):
    found = through_a_kill(tmp_path, 5, 300)
    assert (found["done"], found["lost"], found["again"], found["videos"]) == (5, 0, 0, 5)
    assert found["done_before_the_kill"] >= 1
    assert found["status_after_ctrl_c"] == 130
