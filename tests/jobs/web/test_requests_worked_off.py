"""What becomes of a request at its worker: step by step, cancelled, given back, failed with a reason."""

import errno
import json
import threading
import time
from datetime import timedelta
from pathlib import Path

from starlette.testclient import TestClient

from catalog.requests import claim, find
from jobs.web.app import create_app
from pipeline.serving import worker as working
from tests.jobs.web.asked import ASKED, ended
from tests.jobs.web.conftest import HERE, desk_for, serving, site_for


def test_the_same_seed_gives_the_same_clip_and_no_weight_is_loaded_again(catalog, tmp_path):
    desk = desk_for(catalog, tmp_path, fresh=True)
    asking = TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE)
    with serving(desk):
        made = []
        for _ in range(2):
            done = ended(asking, asking.post("/api/requests", json=ASKED).json()["id"])
            made.append((done, asking.get(done["links"]["video"]).content))
    assert made[0][1] == made[1][1]
    assert made[1][0]["result"]["seconds"]["load"] < made[0][0]["result"]["seconds"]["load"]


def test_a_request_is_cancelled_in_the_queue_and_between_two_steps(asking, desk, monkeypatch):
    queued = asking.post("/api/requests", json=ASKED).json()["id"]
    assert asking.post(f"/api/requests/{queued}/cancel").json()["state"] == "cancelled"
    seen: list[int] = []
    stepped = working.Watch.__call__

    def slow(self, step, steps, facts=None):
        seen.append(step)
        time.sleep(0.7)
        stepped(self, step, steps, facts)

    monkeypatch.setattr(working.Watch, "__call__", slow)
    running = asking.post("/api/requests", json=ASKED | {"steps": 400}).json()["id"]
    with serving(desk):
        while not seen:
            time.sleep(0.02)
        assert asking.post(f"/api/requests/{running}/cancel").json()["state"] == "cancelled"
        after = asking.post("/api/requests", json=ASKED | {"steps": 1}).json()["id"]
        assert ended(asking, after)["state"] == "done"
    assert max(seen) < 10
    assert [file.name for file in desk.work.folder.glob(f"{running}*")] == []
    assert find(desk.catalog, queued).attempt == 0


def test_a_stopped_server_gives_back_what_runs_and_the_next_one_goes_on(
    asking, desk, catalog, tmp_path, monkeypatch
):
    begun = threading.Event()
    stepped = working.Watch.__call__

    def slow(self, step, steps, facts=None):
        begun.set()
        time.sleep(0.5)
        stepped(self, step, steps, facts)

    monkeypatch.setattr(working.Watch, "__call__", slow)
    request_id = asking.post("/api/requests", json=ASKED | {"steps": 50}).json()["id"]
    with serving(desk):
        begun.wait(60)
    monkeypatch.setattr(working.Watch, "__call__", stepped)
    assert find(catalog, request_id).state == "queued"
    # A model of its own: the first server's worker may still be at the one that tests share.
    with serving(desk_for(catalog, tmp_path, fresh=True)):
        assert ended(asking, request_id)["state"] == "done"
    assert find(catalog, request_id).attempt == 1


def test_what_a_worker_left_behind_that_is_gone_is_taken_up_again(asking, desk, catalog):
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    claim(catalog, request_id, "gone", timedelta(0))
    object.__setattr__(desk.dispatcher, "_patience", timedelta(seconds=1))
    with serving(desk):
        done = ended(asking, request_id)
    assert (done["state"], done["attempt"]) == ("done", 2)


def test_a_full_disk_fails_the_request_with_its_reason_and_leaves_nothing_half_written(
    asking, desk, monkeypatch
):
    def full(path, content):
        Path(path).parent.mkdir(exist_ok=True)
        if Path(path).suffix == ".jpg":  # the last of the three that are written
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        Path(path).write_bytes(content)

    monkeypatch.setattr(working, "write_atomically", full)
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    with serving(desk):
        failed = ended(asking, request_id)
    assert failed["state"] == "failed"
    assert "is full" in failed["error"]
    assert list(desk.work.folder.glob(f"{request_id}*")) == []
    assert asking.get(f"/api/requests/{request_id}/content").status_code == 409


def test_a_fault_of_ours_ends_one_request_and_not_the_worker(asking, desk, monkeypatch):
    made = working.Studio.make
    monkeypatch.setattr(working.Studio, "make", lambda *_, **__: 1 / 0)
    wrong = asking.post("/api/requests", json=ASKED).json()["id"]
    with serving(desk):
        failed = ended(asking, wrong)
        assert failed["error"] == "That is a fault of ours; the server's log has the traceback."
        monkeypatch.setattr(working.Studio, "make", made)
        right = asking.post("/api/requests", json=ASKED).json()["id"]
        assert ended(asking, right)["state"] == "done"


def test_a_model_of_another_backbone_fails_its_request_and_says_which_is_right(catalog, tmp_path):
    desk = desk_for(catalog, tmp_path, fresh=True)
    asking = TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE)
    small = desk.work.backbone.model_copy(update={"model": "random:0"})
    object.__setattr__(desk.work, "backbone", small)
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    with serving(desk):
        failed = ended(asking, request_id)
    assert failed["state"] == "failed"
    assert "was trained on another" in failed["error"]


def test_events_tell_every_change_until_the_end(asking, desk):
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    told = []

    def listen() -> None:
        with asking.stream("GET", f"/api/requests/{request_id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            told.extend(json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))

    listener = threading.Thread(target=listen)
    listener.start()
    with serving(desk):
        ended(asking, request_id)
        listener.join(30)
    assert [told[0]["state"], told[-1]["state"]] == ["queued", "done"]
