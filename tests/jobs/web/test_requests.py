"""Clips on request, over HTTP: asked for, watched, fetched, asked for again, removed."""

import io
import json

import av
from safetensors.torch import load

from tests.jobs.web.asked import ASKED, ended, uploads
from tests.jobs.web.conftest import serving
from training.methods.lightlora.targets import TARGETS, loaded_by


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


def test_what_is_uploaded_is_decoded_at_once_and_added_to_the_effects_of_clips(asking, desk):
    form = {"prompt": "a mug", "seed": "1", "reference_clip": ["melt0", "glow0"], "weights": "0.7, -0.3, 1"}
    taken = asking.post("/api/requests", data=form, files=uploads())
    assert taken.status_code == 202, taken.text
    asked = taken.json()["asked"]
    assert {asked["reference"]["kind"], asked["first_frame"]["kind"]} == {"upload"}
    assert [each["name"] for each in asked["also"]] == ["melt0", "glow0"]
    assert sorted(file.suffix for file in desk.uploads.folder.iterdir()) == [".mp4", ".png"]
    with serving(desk):
        done = ended(asking, taken.json()["id"])
    assert done["state"] == "done"
    with av.open(io.BytesIO(asking.get(done["links"]["video"]).content)) as container:
        blend = json.loads(container.metadata["comment"])["blend"]
    assert [(each["reference"], each["weight"]) for each in blend] == [
        ("a file", 0.7),
        ("melt0", -0.3),
        ("glow0", 1.0),
    ]
    assert "× -0.30" in asking.get(f"/requests/{done['id']}").text
    assert 'value="melt0 glow0"' in asking.get(f"/generate?again={done['id']}").text


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
