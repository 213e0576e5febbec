"""Clips on request, over HTTP: taken in within limits, made step by step, each owner's own."""

import errno
import io
import json
import re
import threading
import time
from datetime import timedelta
from pathlib import Path

import av
import pytest
from PIL import Image
from safetensors.torch import load
from starlette.testclient import TestClient

from catalog.requests import claim, find, unfinished
from jobs.web.access import Access, Role
from jobs.web.app import create_app
from pipeline.serving import worker as working
from pipeline.video.transcode import encode_video
from tests.jobs.web.conftest import HERE, desk_for, serving, site_for
from tests.pipeline.made import frames
from training.methods.lightlora.targets import TARGETS, loaded_by

CLIPS = {"reference_clip": "melt0", "first_frame_clip": "freeze1"}
ASKED = {**CLIPS, "prompt": "a red mug", "seed": 3}


@pytest.fixture
def desk(catalog, tmp_path):
    return desk_for(catalog, tmp_path)


@pytest.fixture
def asking(catalog, tmp_path, desk):
    """A client; no worker is at work."""
    app = create_app(site_for(catalog, tmp_path, desk=desk))
    return TestClient(app, HERE, follow_redirects=False)


def ended(client, request_id: str, seconds: float = 120) -> dict:
    patient_until = time.monotonic() + seconds
    while (now := client.get(f"/api/requests/{request_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < patient_until, now
        time.sleep(0.05)
    return now


def uploads() -> dict:
    picture = io.BytesIO()
    Image.fromarray(frames("glow", 5)[0]).save(picture, "PNG")
    return {
        "reference": ("effect.mp4", encode_video(frames("explode", 7), 8), "video/mp4"),
        "first_frame": ("mug.png", picture.getvalue(), "image/png"),
    }


def test_a_clip_is_asked_for_watched_and_fetched_with_its_adapter_and_lineage(asking, desk):
    taken = asking.post("/api/requests", json=ASKED)
    assert taken.status_code == 202
    seen = taken.json()
    assert (seen["state"], seen["place"], seen["progress"]) == ("queued", 0, 0)
    assert asking.get(seen["links"]["self"]).json()["id"] == seen["id"]
    assert asking.get(f"/api/requests/{seen['id']}/content").status_code == 409
    with serving(desk):
        done = ended(asking, seen["id"])
    assert (done["state"], done["progress"], done["error"]) == ("done", 1, None)
    video = asking.get(done["links"]["video"])
    with av.open(io.BytesIO(video.content)) as container:
        assert container.streams.video[0].frames == 49
        lineage = json.loads(container.metadata["comment"])
    assert (lineage["reference"], lineage["prompt"]) == ("melt0", "a red mug")
    assert lineage["model_id"] == done["result"]["model"]
    assert asking.get(done["links"]["video"], headers={"range": "bytes=0-99"}).status_code == 206
    assert asking.get(done["links"]["preview"]).content.startswith(b"\xff\xd8")
    for target in TARGETS:
        adapter = asking.get(done["links"]["adapter"], params={"target": target})
        found = loaded_by(target, load(adapter.content))
        assert found.whole
        assert found.linears == len(load(adapter.content)) // 2
    page = asking.get(f"/requests/{seen['id']}").text
    assert "Use this in ComfyUI" in page
    assert f"/api/requests/{seen['id']}/content" in page


def test_what_is_uploaded_is_decoded_at_once_and_used(asking, desk):
    taken = asking.post("/api/requests", data={"prompt": "a mug", "seed": "1"}, files=uploads())
    assert taken.status_code == 202, taken.text
    asked = taken.json()["asked"]
    assert {asked["reference"]["kind"], asked["first_frame"]["kind"]} == {"upload"}
    assert sorted(file.suffix for file in desk.uploads.folder.iterdir()) == [".mp4", ".png"]
    with serving(desk):
        assert ended(asking, taken.json()["id"])["state"] == "done"


def test_the_same_seed_gives_the_same_clip_and_no_weight_is_loaded_again(asking, desk):
    with serving(desk):
        made = []
        for _ in range(2):
            done = ended(asking, asking.post("/api/requests", json=ASKED).json()["id"])
            made.append((done, asking.get(done["links"]["video"]).content))
    assert made[0][1] == made[1][1]
    assert made[1][0]["result"]["seconds"]["load"] < made[0][0]["result"]["seconds"]["load"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'reference' is an uploaded file"),
        ({"reference_clip": "melt0"}, "'first_frame' is an uploaded file"),
        (ASKED | {"reference_clip": "/etc/passwd"}, "is no clip_id"),
        (ASKED | {"first_frame_clip": "../catalog"}, "is no clip_id"),
        (ASKED | {"model": "nothing"}, "There is no trained model|No model named"),
        (ASKED | {"steps": 0}, "too small"),
        (ASKED | {"steps": 1001}, "too large"),
        (ASKED | {"steps": "4"}, "not a whole number"),
        (ASKED | {"seed": -1}, "too small"),
        (ASKED | {"prompt": "x" * 2001}, "at most 2000 characters"),
        (ASKED | {"prompt": "\ud800"}, "unicode"),
        (ASKED | {"strenght": 1}, "no field 'strenght'"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(asking, body, said):
    answer = asking.post(
        "/api/requests", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert re.search(said, answer.json()["error"]["message"])


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"guidance": NaN}', "application/json", 422),
        (b"reference_clip=melt0", "application/x-www-form-urlencoded", 415),
        (b"x", "", 415),
        (b"x", "multipart/form-data", 422),
        (b"x", "multipart/form-data; boundary=y", 422),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(asking, content, kind, status):
    answer = asking.post("/api/requests", content=content, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize(
    ("name", "content", "kind", "status", "said"),
    [
        ("reference", b"no video", "video/mp4", 422, "cannot be used"),
        ("reference", b"", "video/mp4", 422, "cannot be used"),
        ("reference", b"<html>", "text/html", 415, "send a video or a picture"),
        ("first_frame", b"\x89PNG\r\n\x1a\n torn", "image/png", 422, "cannot be"),
        ("reference", bytes(2 * 2**20), "video/mp4", 413, "at most 1 MB"),
    ],
)
def test_an_upload_that_is_not_what_it_says_is_refused_and_not_kept(
    catalog, tmp_path, name, content, kind, status, said
):
    desk = desk_for(catalog, tmp_path, max_upload_mb=1)
    client = TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE)
    other = {f"{each}_clip": "melt0" for each in ("reference", "first_frame") if each != name}
    answer = client.post("/api/requests", data=other, files={name: ("a", content, kind)})
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert str(tmp_path) not in answer.text
    assert not desk.uploads.folder.exists() or not list(desk.uploads.folder.iterdir())


def test_who_asks_too_much_is_told_when_to_come_back(catalog, tmp_path):
    for settings, said in (
        ({"max_queued": 2}, "The queue is full"),
        ({"max_per_user": 2}, "of yours are not done"),
        ({"per_minute": 2}, "requests a minute"),
    ):
        desk = desk_for(catalog, tmp_path / said, **settings)
        client = TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE)
        ids = [client.post("/api/requests", json=ASKED).json()["id"] for _ in range(2)]
        refused = client.post("/api/requests", json=ASKED)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert said in refused.json()["error"]["message"]
        for request_id in ids:
            assert client.delete(f"/api/requests/{request_id}").status_code == 204


def test_asking_again_under_a_key_is_the_same_request_also_where_no_more_is_taken(asking, desk):
    object.__setattr__(desk, "settings", desk.settings.model_copy(update={"max_queued": 1}))
    key = {"idempotency-key": "one"}
    first = asking.post("/api/requests", data={"seed": "1"}, files=uploads(), headers=key)
    again = asking.post("/api/requests", data={"seed": "1"}, files=uploads(), headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    other = asking.post("/api/requests", data={"seed": "2"}, files=uploads(), headers=key)
    assert other.status_code == 422
    assert "another request" in other.json()["error"]["message"]
    for wrong in ("", "x" * 201):
        assert asking.post("/api/requests", json=ASKED, headers={"idempotency-key": wrong}).status_code == 422


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
    with serving(desk_for(catalog, tmp_path)):
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


def test_a_full_disk_refuses_an_upload_and_keeps_no_half_of_it(asking, desk, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pipeline.serving.uploads.write_atomically", full)
    answer = asking.post("/api/requests", files=uploads())
    assert answer.status_code == 507
    assert "is full" in answer.json()["error"]["message"]
    assert unfinished(desk.catalog) == []


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


def test_a_model_of_another_backbone_fails_its_request_and_says_which_is_right(asking, desk):
    small = desk.work.backbone.model_copy(update={"model": "random:0"})
    object.__setattr__(desk.work, "backbone", small)
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    with serving(desk):
        failed = ended(asking, request_id)
    assert failed["state"] == "failed"
    assert "was trained on another" in failed["error"]


def test_one_users_requests_and_files_are_not_anothers(catalog, tmp_path):
    access = Access.of("0.0.0.0", tmp_path / "work", ["ada", "ben"])
    desk = desk_for(catalog, tmp_path)
    app = create_app(site_for(catalog, tmp_path, access, desk))

    def program(token: str) -> TestClient:
        return TestClient(
            app, "http://there.example", headers={"authorization": f"Bearer {token}"}, follow_redirects=False
        )

    def browser(author: str) -> TestClient:
        client = TestClient(app, "http://there.example", follow_redirects=False)
        assert client.post("/enter", data={"token": access.tokens[Role.VIEWER], "author": author}).is_redirect
        return client

    ada, ben, shared = (
        program(access.users["ada"]),
        program(access.users["ben"]),
        program(access.tokens[Role.CURATOR]),
    )
    first, second = browser("ada"), browser("ada")
    mine = {
        client: client.post("/api/requests", json=ASKED).json()["id"] for client in (ada, ben, first, second)
    }
    with serving(desk):
        for client, request_id in mine.items():
            assert ended(client, request_id)["state"] == "done"
    for client in (ada, ben, first, second, shared):
        for owner, request_id in mine.items():
            for path in ("", "/content", "/adapter", "/preview", "/events"):
                status = client.get(f"/api/requests/{request_id}{path}").status_code
                assert status == (200 if client is owner else 404)
            assert (client.get(f"/requests/{request_id}").status_code == 200) is (client is owner)
            if client is not owner:
                assert client.delete(f"/api/requests/{request_id}").status_code == 404
                assert client.post(f"/api/requests/{request_id}/cancel").status_code == 404
                assert client.get(f"/v1/videos/{request_id}/content").status_code == 404
        listed = [each["id"] for each in client.get("/api/requests").json()["requests"]]
        assert listed == ([mine[client]] if client in mine else [])
    stranger = TestClient(app, "http://there.example").get("/api/requests")
    assert stranger.status_code == 401
    assert stranger.json()["error"]["type"] == "authentication_error"


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


def test_removing_takes_the_files_and_leaves_those_of_others(asking, desk):
    ids = [asking.post("/api/requests", json=ASKED | {"seed": n}).json()["id"] for n in range(2)]
    with serving(desk):
        for request_id in ids:
            ended(asking, request_id)
    assert asking.post(f"/requests/{ids[0]}/remove", files={"x": ("", b"")}).status_code == 303
    assert asking.get(f"/api/requests/{ids[0]}").status_code == 404
    assert list(desk.work.folder.glob(f"{ids[0]}*")) == []
    assert asking.get(f"/api/requests/{ids[1]}/content").status_code == 200


def test_a_server_that_starts_removes_what_no_request_names(asking, desk):
    asking.post("/api/requests", files=uploads())
    request_id = asking.post("/api/requests", json=ASKED).json()["id"]
    with serving(desk):
        ended(asking, request_id)
    stray = desk.work.folder / f"{request_id}-7.mp4"
    unnamed = desk.uploads.folder / f"{'0' * 64}.mp4"
    for file in (stray, unnamed):
        file.write_bytes(b"x")
    desk.uploads.sweep(set(), older_than=3600)
    assert unnamed.exists()
    desk.sweep()
    assert not stray.exists()
    assert asking.get(f"/api/requests/{request_id}/content").status_code == 200
    assert (
        desk.uploads.sweep({file.name for file in desk.uploads.folder.iterdir()} - {unnamed.name}, -60) == 1
    )


def test_a_server_without_a_model_says_what_to_do(catalog, tmp_path):
    desk = desk_for(catalog, tmp_path)
    object.__setattr__(desk.work, "model", None)
    client = TestClient(create_app(site_for(catalog, tmp_path, desk=desk)), HERE)
    assert "video2lora train" in client.get("/generate").text
    refused = client.post("/api/requests", json=ASKED)
    assert refused.status_code == 422
    assert "--model pocket" in refused.json()["error"]["message"]
    assert client.post("/api/requests", json=ASKED | {"model": "pocket"}).status_code == 202


def test_a_server_that_generates_nothing_says_so(catalog, tmp_path):
    site = site_for(catalog, tmp_path)
    site.desk = None
    client = TestClient(create_app(site), HERE)
    for path in ("/generate", "/requests", "/api/requests", "/v1/videos"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "--no-generate" in answer.text


def test_seeds_and_strengths_make_a_grid_that_is_watched_on_one_page(asking, desk):
    form = {**CLIPS, "prompt": "a mug", "seeds": "0-1, 5", "strengths": "-1, 1", "steps": "2"}
    answer = asking.post("/generate", data=form, files={"reference": ("", b"")})
    assert answer.status_code == 303, answer.text
    assert len(unfinished(desk.catalog)) == 6
    page = asking.get(answer.headers["location"]).text
    assert page.count('hx-trigger="every 1s"') == 6
    assert "seed 5" in page
    with serving(desk):
        for request in asking.get("/api/requests").json()["requests"]:
            assert ended(asking, request["id"])["state"] == "done"
    page = asking.get(answer.headers["location"]).text
    assert "every 1s" not in page
    assert page.count("<video") == 6
    again = asking.get(f"/generate?again={request['id']}").text
    assert 'value="melt0"' in again
    assert "a mug" in again
    assert asking.get("/requests").text.count("<video") == 6
    assert asking.get("/requests?group=nothing").status_code == 404


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"seeds": "x"}, "Seeds are whole numbers"),
        ({"seeds": "3-1"}, "no span"),
        ({"seeds": "0-99"}, "no span"),
        ({"seeds": "0-7", "strengths": "1,2,3"}, "more than 16 clips"),
        ({"strengths": "much"}, "Strengths are numbers"),
        ({"strengths": "nan"}, "finite number"),
        ({"strengths": "11"}, "the largest is 10"),
        ({"reference_clip": "nothing"}, "is no clip_id"),
    ],
)
def test_a_form_that_cannot_be_meant_is_shown_again_with_a_sentence(asking, desk, said, sentence):
    answer = asking.post("/generate", data={**CLIPS, "prompt": "kept", **said}, files={"x": ("", b"")})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "kept" in answer.text
    assert unfinished(desk.catalog) == []
