"""The duplicate bench, snapshots, licences, runs and models."""

import html
import json
import re
import sys

import pytest
from starlette.testclient import TestClient

from catalog.clip_spec import ClipSpec
from catalog.curation import Author, Selection
from catalog.curation import clips as acts
from catalog.events import history
from catalog.snapshots import snapshots, take
from catalog.store import Catalog
from jobs.web.app import create_app
from tests.jobs.web.conftest import HERE, site_for

MARKUP = "<script>alert(1)</script>"


def alert(answer) -> str:
    return html.unescape(re.search(r'role="alert">(.*?)</p>', answer.text)[1])


@pytest.fixture
def doubled(catalog):
    """melt0 and melt2 show the same, in different splits; melt1 is a copy of melt0."""
    rows = [
        {"clip_id": clip, "duplicate_group": "melt0", "status": "accepted"} for clip in ("melt0", "melt2")
    ]
    copy = {"clip_id": "melt1", "duplicate_group": "melt0", "status": "duplicate", "duplicate_of": "melt0"}
    catalog.update("clips", rows)
    catalog.update("clips", [copy | {"caption": MARKUP}])
    return catalog


def status(catalog) -> dict[str, tuple]:
    rows = catalog.scan("clips", ["clip_id", "status", "duplicate_of"]).to_pylist()
    return {row["clip_id"]: (row["status"], row["duplicate_of"]) for row in rows}


def test_a_group_is_shown_side_by_side_with_what_differs_and_its_leak(doubled, client):
    page = client.get("/duplicates").text
    assert "1 of 1 group" in page
    assert "leaks across splits" in page
    assert "gets its vector and its split from the next" in page
    differing = re.findall(r'class="differs"><th scope="row">([\w ]+)</th>', page)
    assert {"caption", "split", "source uri"} <= set(differing)
    assert "codec" not in differing
    assert MARKUP not in page


def test_one_is_kept_and_put_back_by_undo(doubled, client):
    before = status(doubled)
    sent = {"clip": ["melt0", "melt1", "melt2"], "keep": "melt2", "as_of": "0"}
    answer = client.post("/acts/duplicates/keep", data=sent)
    assert answer.status_code == 303
    assert status(doubled)["melt0"] == ("duplicate", "melt2")
    assert status(doubled)["melt2"] == ("accepted", None)
    client.post("/undo", data={"event": "1"})
    assert status(doubled) == before


def test_what_is_told_apart_is_not_asked_again(doubled, client):
    client.post("/acts/duplicates/apart", data={"clip": ["melt0", "melt1", "melt2"]})
    assert status(doubled)["melt1"] == ("accepted", None)
    assert "No two clips show the same" in client.get("/duplicates").text


@pytest.mark.parametrize(
    ("path", "sent", "code"),
    [
        ("duplicates/keep", {"clip": "melt0", "keep": "melt0"}, 422),
        ("duplicates/keep", {"clip": ["melt0", "nobody"], "keep": "melt0"}, 404),
        ("duplicates/apart", {"clip": "melt0"}, 422),
        ("duplicates/destroy", {"clip": ["melt0", "melt1"], "keep": "melt0"}, 422),
        ("snapshots/take", {"name": ""}, 422),
        ("snapshots/take", {"name": "now"}, 422),
        ("snapshots/take", {"name": "x" * 1_000_000}, 422),
        ("snapshots/restore", {"name": "nothing"}, 404),
        ("snapshots/destroy", {"name": "x"}, 422),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(catalog, client, path, sent, code):
    answer = client.post(f"/acts/{path}", data=sent)
    assert answer.status_code == code, answer.text
    assert alert(answer)
    assert history(catalog) == []
    assert snapshots(catalog) == []


def test_a_snapshot_is_taken_compared_and_put_back(catalog, client):
    answer = client.post("/acts/snapshots/take", data={"name": "before", "note": MARKUP})
    assert answer.headers["location"] == "/snapshots?one=before"
    acts.move(catalog, Selection.of(["melt0"]), "freeze", Author("grace"))
    acts.reject(catalog, Selection.of(["melt1"]), Author("grace"))
    page = client.get("/snapshots?one=before&other=now").text
    assert "12 → 11" in page
    assert re.search(r"<bdi>melt</bdi></td><td><bdi>freeze</bdi></td><td class=\"n\">1</td>", page)
    assert "Went (1)" in page
    assert MARKUP not in page
    assert client.post("/acts/snapshots/restore", data={"name": "before"}).status_code == 303
    assert status(catalog)["melt1"] == ("accepted", None)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/snapshots?one=nothing", 404),
        ("/snapshots?one=model:nothing", 404),
        (f"/snapshots?one={MARKUP}", 404),
        ("/licences?exclude=nothing", 422),
        ("/licences?exclude=cc0&least=x", 422),
        ("/licences?exclude=cc0&least=-5", 200),
        ("/duplicates?at=-3", 200),
        ("/duplicates?at=999", 200),
        ("/duplicates?at=x", 422),
        ("/run?id=nothing", 404),
        (f"/model?id={MARKUP}", 404),
        ("/model", 422),
    ],
)
def test_nonsense_is_a_sentence_and_never_a_fault(reading, path, code):
    answer = reading.get(path)
    assert answer.status_code == code
    assert MARKUP not in answer.text


def test_a_snapshot_of_another_geometry_is_neither_compared_nor_put_back(catalog, client):
    take(catalog, "wide", "ada")
    catalog.update("snapshots", [{"name": "wide", "spec_id": "49f-8fps-480x720"}])
    for answer in (
        client.get("/snapshots?one=wide"),
        client.post("/acts/snapshots/restore", data={"name": "wide"}),
    ):
        assert answer.status_code == 422
        assert "of clips of 49f-8fps-480x720" in alert(answer)
    assert client.get("/snapshots").status_code == 200


def test_what_would_be_left_without_a_licence_is_said_and_listed(reading):
    page = reading.get("/licences?exclude=unknown&least=2").text
    assert "you lose 6 of 12 clips" in html.unescape(page)
    assert '<a href="/?licence=%28none%29">' in page


def test_runs_and_models_are_listed_with_their_figures_and_what_a_model_saw(catalog, client):
    seen = take(catalog, "then", "ada").snapshot
    model = {"model_id": MARKUP, "run_id": "r1", "method": "video2lora", "champion": True, "bytes": 2_500_000}
    model |= {"metrics": json.dumps({"loss": 0.25, "name": MARKUP}), "snapshot": seen.to_json()}
    catalog.upsert("models", [model])
    catalog.upsert(
        "runs", [{"run_id": "r1", "kind": "train", "status": "failed", "config": '{"a": {"b": 1}}'}]
    )
    page = client.get("/runs").text
    assert MARKUP not in page
    assert "champion" in page
    assert "loss 0.2500" in page
    assert "2.50" in page
    assert "a.b" in client.get("/run?id=r1").text
    assert MARKUP not in client.get("/model", params={"id": MARKUP}).text
    acts.reject(catalog, Selection.of(["melt1"]), Author("grace"))
    assert "12 → 11" in client.get("/snapshots", params={"one": f"model:{MARKUP}"}).text


def test_the_map_is_drawn_once_kept_and_searched_by_lasso(catalog, tmp_path):
    site = site_for(catalog, tmp_path)
    client = TestClient(create_app(site), HERE)
    assert client.get("/?lasso=0.0_0.0~1.0_0.0~1.0_1.0").status_code in (200, 422)
    client.get("/map.json")
    site.charts.wait()
    told = client.get("/map.json").json()
    assert sorted(told["clips"]) == sorted(catalog.scan("clips", ["clip_id"])["clip_id"].to_pylist())
    assert {told["names"][n] for n in told["category"] if n >= 0} == {"melt", "explode", "freeze"}
    all_of_it = "/?lasso=-1.0_-1.0~2.0_-1.0~2.0_2.0~-1.0_2.0"
    assert "<b>12 clips</b>" in client.get(all_of_it).text
    assert "<b>3 clips</b>" in client.get(all_of_it + "&category=melt").text
    assert "<b>0 clips</b>" in client.get("/?lasso=5.0_5.0~6.0_5.0~6.0_6.0").text
    again = site_for(catalog, tmp_path)
    assert again.charts.newest() is not None  # from its file


def test_without_vectors_there_is_no_map_and_no_fault(tmp_path):
    empty = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=5, height=64, width=96))
    client = TestClient(create_app(site_for(empty, tmp_path)), HERE)
    for path in (
        "/",
        "/categories",
        "/review",
        "/duplicates",
        "/snapshots",
        "/licences",
        "/runs",
        "/history",
        "/map",
    ):
        assert client.get(path).status_code == 200, path
    answer = client.get("/map.json")
    assert (answer.status_code, answer.json()) == (409, {"trouble": "The clips have no vectors yet."})


def test_a_map_that_cannot_be_kept_says_so_on_its_page(catalog, tmp_path):
    (tmp_path / "pictures").write_text("a file where the folder should be")
    site = site_for(catalog, tmp_path)
    client = TestClient(create_app(site), HERE)
    client.get("/map")
    site.charts.wait()
    assert "cannot be kept in" in alert(client.get("/map"))
    answer = client.get("/map.json")
    assert answer.status_code == 409
    assert "cannot be kept in" in answer.json()["trouble"]
    assert client.get("/?lasso=0.0_0.0~1.0_0.0~1.0_1.0").status_code == 422


def test_a_map_without_its_library_or_with_few_clips_says_so(catalog, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    site = site_for(catalog, tmp_path)
    client = TestClient(create_app(site), HERE)
    client.get("/map")
    site.charts.wait()
    assert "pip install openTSNE" in html.unescape(client.get("/map").text)
    rejected = Selection.of([f"{look}{n}" for look in ("melt", "glow") for n in range(3)])
    acts.reject(catalog, rejected, Author("ann"))  # six are left, which need no library
    client.get("/map")
    site.charts.wait()
    page = client.get("/map").text
    assert "Fewer than 8 clips" in page
    assert "openTSNE" not in page
