"""Clients that leave: in the middle of a wait, of a download. The server goes on for the others."""

import socket
import time
from datetime import timedelta

import httpx
import pytest

from catalog.requests import beat, claim, finish
from pipeline.serving.desk import Desk
from tests.jobs.web.browser import served
from tests.jobs.web.conftest import desk_for, site_for
from training.files import write_atomically

ASKED = {"reference_clip": "melt0", "first_frame_clip": "freeze1"}
# More than two sockets hold of it, so that most of it was not sent when the client goes.
LARGE = bytes(40 * 2**20)


@pytest.fixture
def desk(catalog, tmp_path) -> Desk:
    return desk_for(catalog, tmp_path)


def left(address: str, path: str, until: bytes) -> None:
    """Ask, read until something is there, and go without a word."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        seen = b""
        while until not in seen:
            seen += client.recv(1000)


def test_who_leaves_a_wait_or_a_download_is_not_served_any_more_and_nobody_else_notices(
    catalog, tmp_path, desk, monkeypatch, caplog
):
    looks: list[float] = []
    find = Desk.find
    monkeypatch.setattr(Desk, "find", lambda *asked: (looks.append(time.monotonic()), find(*asked))[1])
    with served(site_for(catalog, tmp_path, desk=desk)) as address, httpx.Client(base_url=address) as other:
        path = f"/api/requests/{other.post('/api/requests', json=ASKED).json()['id']}"
        left(address, f"{path}/events", b'"state":"queued"')
        time.sleep(1.5)  # by then the next event could not be sent
        looks.clear()
        time.sleep(1.5)
        assert looks == []
        claimed = claim(catalog, path.rpartition("/")[2], "w", timedelta(days=1))
        assert other.get(path).json()["state"] == "running"
        beat(catalog, claimed, 1, 2)
        write_atomically(desk.work.folder / "done.mp4", LARGE)
        finish(catalog, claimed, {"video": "done.mp4", "lora": None, "poster": "done.mp4", "model": "m"})
        left(address, f"{path}/content", bytes(100))
        assert other.get(f"{path}/content").content == LARGE
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
