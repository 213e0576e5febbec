"""The web on Ray Serve, as a RayService deploys it."""

import json
import socket
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from jobs.served import Served, web
from tests.pipeline.made import GEOMETRY, make_catalog

pytestmark = pytest.mark.slow


@pytest.fixture
def address(ray_cluster, tmp_path):
    """Of the web of a catalogue with one clip."""
    from ray import serve

    make_catalog(tmp_path / "work", {"a": ("melt", "Melt")})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        served = Served(workdir=tmp_path / "work", set=GEOMETRY)
        serve.run(web(served), name="web")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


def test_pages_are_served_to_who_has_a_token_and_to_nobody_else(address, tmp_path):
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}/")
    assert b"/enter" in refused.value.read()  # our gate's own sentence
    token = json.loads((tmp_path / "work" / "web-access.json").read_text())["viewer"]
    page = urlopen(Request(f"{address}/", headers={"Authorization": f"Bearer {token}"})).read()
    assert b"Melt" in page or b"a scene called a" in page
    with pytest.raises(HTTPError) as nothing:
        urlopen(Request(f"{address}/generate", headers={"Authorization": f"Bearer {token}"}))
    assert nothing.value.code == 503
    assert b"`video2lora serve`" in nothing.value.read()
