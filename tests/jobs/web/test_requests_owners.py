"""One user's requests and files are not another's."""

from starlette.testclient import TestClient

from jobs.web.access import Access, Role
from jobs.web.app import create_app
from tests.jobs.web.asked import ASKED, ended
from tests.jobs.web.conftest import desk_for, serving, site_for


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
