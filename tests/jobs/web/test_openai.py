"""OpenAI's own client against this server; and any request that the API's description allows, and more."""

import base64
import io
import shutil

import httpx
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis.checks import CHECKS as KNOWN
from schemathesis.checks import load_all_checks

from catalog.store import Catalog
from jobs.web.app import create_app
from tests.jobs.web.asked import ended
from tests.jobs.web.conftest import HERE, desk_for, serving, site_for
from tests.pipeline.made import frames

EFFECT = {"reference_clip": "melt0", "seed": 1}


@pytest.fixture
def theirs(asking):
    """OpenAI's client, whose requests reach the application in this process."""
    return openai.OpenAI(api_key="none", base_url=f"{HERE}/v1", http_client=asking, max_retries=0)


def picture() -> bytes:
    data = io.BytesIO()
    Image.fromarray(frames("glow", 5)[0]).save(data, "PNG")
    return data.getvalue()


@pytest.mark.filterwarnings("ignore:The Sora API")
def test_their_client_creates_watches_lists_downloads_and_deletes_a_video(theirs, asking, desk):
    video = theirs.videos.create(
        prompt="a mug", input_reference=("mug.png", picture(), "image/png"), extra_body=EFFECT
    )
    assert (video.status, video.progress, video.prompt, video.size) == ("queued", 0, "a mug", "96x64")
    with serving(desk):
        ended(asking, video.id)
    video = theirs.videos.retrieve(video.id)
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert video.model == asking.get(f"/api/requests/{video.id}").json()["result"]["model"]
    content = theirs.videos.download_content(video.id).read()
    assert content == asking.get(f"/api/requests/{video.id}/content").content
    assert theirs.videos.download_content(video.id, variant="thumbnail").read().startswith(b"\xff\xd8")
    others = [
        theirs.videos.create(prompt="more", extra_body=EFFECT | {"first_frame_clip": "glow0", "seed": n})
        for n in range(3)
    ]
    listed = [each.id for each in theirs.videos.list(limit=2)]
    assert listed == [each.id for each in reversed(others)] + [video.id]
    assert [each.id for each in theirs.videos.list(limit=100, order="asc")] == listed[::-1]
    assert theirs.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        theirs.videos.retrieve(video.id)


@pytest.mark.filterwarnings("ignore:The Sora API")
def test_their_client_understands_what_is_refused(theirs, asking, desk):
    with pytest.raises(openai.UnprocessableEntityError, match="'first_frame' is an uploaded file"):
        theirs.videos.create(prompt="a mug", extra_body=EFFECT)
    with pytest.raises(openai.UnprocessableEntityError, match="96x64"):
        theirs.videos.create(prompt="a mug", size="720x1280", extra_body=EFFECT)
    with pytest.raises(openai.UnprocessableEntityError, match="cannot be"):
        theirs.videos.create(prompt="a mug", input_reference=b"no picture", extra_body=EFFECT)
    with pytest.raises(openai.NotFoundError, match="no such request"):
        theirs.videos.delete("video_1")
    object.__setattr__(desk, "settings", desk.settings.model_copy(update={"per_minute": 1}))
    with pytest.raises(openai.RateLimitError, match="a minute"):
        for _ in range(8):
            theirs.videos.create(prompt="a", extra_body=EFFECT | {"first_frame_clip": "glow0"})


def test_a_picture_within_json_is_taken_and_nothing_is_fetched(asking):
    address = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    body = {"prompt": "a mug", "reference_clip": "melt0", "input_reference": {"image_url": address}}
    assert asking.post("/v1/videos", json=body).status_code == 200
    for wrong in ("http://127.0.0.1/secret.png", "file:///etc/passwd", "data:image/png;base64,!", "data:,x"):
        answer = asking.post("/v1/videos", json=body | {"input_reference": {"image_url": wrong}})
        assert answer.status_code == 422
        assert "input_reference.image_url" in answer.json()["error"]["message"]


def test_a_cancelled_video_is_a_failed_one_with_its_reason(asking):
    body = {"prompt": "a mug", "reference_clip": "melt0", "first_frame_clip": "glow0"}
    video = asking.post("/v1/videos", json=body).json()["id"]
    asking.post(f"/api/requests/{video}/cancel")
    seen = asking.get(f"/v1/videos/{video}").json()
    assert (seen["status"], seen["error"]["code"]) == ("failed", "cancelled")


def test_the_description_says_what_people_and_programs_find(asking):
    document = asking.get("/api/openapi.json").json()
    page = asking.get("/api").text
    assert {"/api/requests", "/v1/videos", "/v1/videos/{video_id}/content"} <= document["paths"].keys()
    for path, verbs in document["paths"].items():
        assert path.startswith(("/api/", "/v1/"))
        for verb in verbs:
            assert f"{verb.upper()} {path}" in page


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture(scope="module")
def described(made, tmp_path_factory):
    """The API of a catalogue of its own, which anything may be asked."""
    folder = tmp_path_factory.mktemp("described")
    shutil.copytree(made.uri, folder / "catalog")
    catalog = Catalog.open(folder / "catalog")
    desk = desk_for(catalog, folder, per_minute=100_000, max_per_user=100_000, max_queued=100_000)
    app = create_app(site_for(catalog, folder, desk=desk))
    return schemathesis.openapi.from_asgi("/api/openapi.json", app, headers={"host": "localhost"})


def test_whatever_is_sent_is_answered_as_the_description_says(described):
    load_all_checks()
    chosen = [KNOWN.get_one(name) for name in CHECKS]
    asked = []
    for found in described.get_all_operations():
        operation = found.ok()

        # Not by schemathesis's own plugin, which this pytest is too new for.
        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answered(case):
            case.call_and_validate(checks=chosen, headers={"host": "localhost"})

        answered()
        asked.append(operation.label)
    assert len(asked) > 10


def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(asking, desk):
    def part():
        yield b'--x\r\nContent-Disposition: form-data; name="reference"; filename="a"\r\n\r\n' + bytes(1000)
        raise httpx.WriteError("gone")

    with pytest.raises(httpx.WriteError):
        asking.post(
            "/api/requests", content=part(), headers={"content-type": "multipart/form-data; boundary=x"}
        )
    assert asking.get("/api/requests").json()["requests"] == []
    assert not desk.uploads.folder.exists()
