"""Who may come in, from where, and what passes."""

import stat

import pytest
from starlette.testclient import TestClient

from jobs.web.access import TOKENS, Access, BadAccess, Role, is_loopback
from jobs.web.app import LARGEST, create_app
from tests.jobs.web.conftest import HERE, site_for

THERE = "http://catalogue.example"


@pytest.fixture
def access(tmp_path) -> Access:
    return Access.of("0.0.0.0", tmp_path / "work")


@pytest.fixture
def outside(made, tmp_path, access):
    """A client of a server that other machines reach."""
    return TestClient(create_app(site_for(made, tmp_path, access)), THERE, follow_redirects=False)


def enter(client, token: str, author: str = "grace", **more):
    return client.post("/enter", data={"token": token, "author": author, **more})


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_this_machines_own_addresses_are_loopback(host, own):
    assert is_loopback(host) is own


def test_tokens_are_made_once_in_a_file_that_only_its_owner_reads(tmp_path):
    first = Access.of("0.0.0.0", tmp_path)
    file = tmp_path / TOKENS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Access.of("0.0.0.0", tmp_path) == first
    assert len({first.secret, *first.tokens.values()}) == 3
    for wrong in ("{", '{"secret": "short"}', '{"secret": "", "viewer": "", "curator": ""}'):
        file.write_text(wrong)
        with pytest.raises(BadAccess, match="remove it"):
            Access.of("0.0.0.0", tmp_path)


def test_a_stranger_gets_the_page_that_asks_and_nothing_else(outside):
    html = {"accept": "text/html"}
    answer = outside.get("/?q=melt", headers=html)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter?next=%2F%3Fq%3Dmelt")
    assert outside.get("/clips/melt0/clip.mp4").status_code == 401
    assert outside.post("/example").status_code == 401
    assert outside.get("/enter").status_code == 200
    assert outside.get("/static/site.css").status_code == 200


def test_a_token_opens_the_page_that_was_asked_for_and_leaving_closes_it(outside, access):
    assert enter(outside, "guess").status_code == 403
    assert enter(outside, access.tokens[Role.VIEWER], author=" ").status_code == 422
    answer = enter(outside, access.tokens[Role.VIEWER], next="/?q=melt")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=melt")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = outside.get("/")
    assert page.status_code == 200
    assert "grace" in page.text
    assert "(viewer)" in page.text
    outside.post("/leave")
    assert outside.get("/").status_code == 401


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\nb"])
def test_entering_leads_to_no_other_site(outside, access, to):
    answer = enter(outside, access.tokens[Role.CURATOR], next=to)
    assert answer.headers["location"] == "/"


def test_a_cookie_that_was_changed_or_signed_by_another_server_is_none(outside, access, made, tmp_path):
    enter(outside, access.tokens[Role.VIEWER])
    signed = outside.cookies["video2lora"]
    for forged in (signed[:-3] + "aaa", "x" + signed, signed.partition(".")[0], "é"):
        with TestClient(outside.app, THERE) as other:
            assert other.get("/", headers={"cookie": f"video2lora={forged}".encode()}).status_code == 401


def test_a_program_says_its_token_in_a_header(outside, access):
    for token, status in ((access.tokens[Role.VIEWER], 200), ("guess", 401), ("", 401), ("é", 401)):
        headers = {"authorization": f"Bearer {token}".encode()}
        assert outside.get("/", headers=headers).status_code == status


def test_a_user_with_a_token_of_his_own_is_one_and_a_viewer(made, tmp_path):
    access = Access.of("0.0.0.0", tmp_path, ["ada", "ben"])
    file = tmp_path / TOKENS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Access.of("0.0.0.0", tmp_path, ["ben"]) == access
    assert Access.of("0.0.0.0", tmp_path, ["cyn"]).users.items() > access.users.items()
    assert access.user_of(access.users["ada"]) == "ada"
    assert access.role_of(access.users["ada"]) is Role.VIEWER
    assert access.user_of(access.tokens[Role.VIEWER]) is None
    client = TestClient(create_app(site_for(made, tmp_path, access)), THERE, follow_redirects=False)
    enter(client, access.users["ada"], author="somebody else")
    assert "<bdi>ada</bdi>" in client.get("/").text
    for wrong in ("", "a b", "#x", "x" * 41):
        with pytest.raises(BadAccess, match="is no name"):
            Access.of("0.0.0.0", tmp_path, [wrong])
    with pytest.raises(BadAccess, match="leave --user away"):
        Access.of("localhost", tmp_path, ["ada"])


def test_a_viewer_looks_and_does_not_act(outside, access):
    enter(outside, access.tokens[Role.VIEWER])
    assert outside.post("/acts/move").status_code == 403
    assert outside.post("/example").status_code == 422  # to ask is no act: the video is missing
    enter(outside, access.tokens[Role.CURATOR])
    assert outside.post("/acts/nothing").status_code != 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": HERE}, 422),
        ({"sec-fetch-site": "same-origin"}, 422),
        ({}, 422),
    ],
)
def test_a_page_of_another_site_may_not_act(reading, headers, status):
    assert reading.post("/example", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("evil.example", 421), ("", 421)],
)
def test_on_loopback_a_name_of_another_site_is_not_answered(reading, host, status):
    assert reading.get("/", headers={"host": host}).status_code == status


def test_a_body_beyond_its_limit_is_refused_however_it_is_sent(reading):
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = reading.post("/enter", content=b"x" * (LARGEST + 1), headers=form)
    assert answer.status_code == 413

    def parts():
        for _ in range(LARGEST // 2**20 + 1):
            yield b"token=" + b"x" * 2**20

    assert reading.post("/enter", content=parts(), headers=form).status_code == 413


def test_no_page_lets_a_script_of_a_stranger_run(reading):
    for address in ("/", "/nothing", "/clips/melt0/clip.mp4"):
        headers = reading.get(address).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("DELETE", "/", 405),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(reading, method, path, status):
    assert reading.request(method, path).status_code == status
