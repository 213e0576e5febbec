"""Requests that cannot be meant, or not now: a status and a sentence, and nothing is kept."""

import errno
import json
import re

import pytest
from starlette.testclient import TestClient

from catalog.requests import unfinished
from jobs.web.app import create_app
from tests.jobs.web.asked import ASKED, uploads
from tests.jobs.web.conftest import HERE, desk_for, site_for


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
        (ASKED | {"reference_clip": ["melt0", "nothing"]}, "is no clip_id"),
        (ASKED | {"reference_clip": ["melt0"] * 9}, "at most 8"),
        (ASKED | {"reference_clip": ["melt0", "glow0"], "weights": [1]}, "are 1, of 2 references"),
        (ASKED | {"weights": [11]}, "too large"),
        (ASKED | {"weights": ["1"]}, "not a number"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(refusing, body, said):
    answer = refusing.post(
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
def test_a_body_that_is_not_what_it_says_is_refused(refusing, content, kind, status):
    answer = refusing.post("/api/requests", content=content, headers={"content-type": kind} if kind else {})
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


def test_a_full_disk_refuses_an_upload_and_keeps_no_half_of_it(asking, desk, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pipeline.serving.uploads.write_atomically", full)
    answer = asking.post("/api/requests", files=uploads())
    assert answer.status_code == 507
    assert "is full" in answer.json()["error"]["message"]
    assert unfinished(desk.catalog) == []


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
