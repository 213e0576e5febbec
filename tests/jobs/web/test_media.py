"""Pictures and videos: by id, in ranges, and never a path."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.requests import Request

from catalog.store import Catalog
from jobs.web.ranges import served
from pipeline.video.planes import from_rgb
from pipeline.video.strip import (
    BAR_HEIGHT,
    SHEET_SIDE,
    STRIP_WIDTH,
    effect_strip,
    scrub_sheet,
    strip_of_planes,
)

DATA = bytes(range(200))


def asked(**headers: str):
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return served(Request({"type": "http", "method": "GET", "headers": raw}), DATA, "video/mp4")


@pytest.mark.parametrize(
    ("asked_for", "status", "body"),
    [
        ("bytes=0-9", 206, DATA[:10]),
        ("bytes=190-", 206, DATA[190:]),
        ("bytes=-5", 206, DATA[-5:]),
        ("bytes=-999", 206, DATA),
        ("bytes=100-999", 206, DATA[100:]),
        ("bytes=200-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-4", 200, DATA),
        ("bytes=-", 200, DATA),
        ("bytes=0-1,5-9", 200, DATA),
        ("lines=1-2", 200, DATA),
        ("bytes=a-b", 200, DATA),
    ],
)
def test_a_range_is_that_part_and_what_is_none_is_everything(asked_for, status, body):
    answer = asked(range=asked_for)
    assert (answer.status_code, answer.body) == (status, body)


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_whatever_is_sent_as_a_range_is_answered(text):
    assert asked(range=text).status_code in (200, 206, 416)


def test_what_a_browser_has_is_not_sent_again_and_a_range_of_something_else_is_everything():
    tag = asked().headers["etag"]
    assert asked(if_none_match=tag).status_code == 304
    assert asked(range="bytes=0-1", if_range=tag).status_code == 206
    assert asked(range="bytes=0-1", if_range='"older"').status_code == 200


def test_a_clip_plays_from_its_middle(made, reading):
    whole = made.videos(["melt0"])["melt0"]
    answer = reading.get("/clips/melt0/clip.mp4", headers={"range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, whole[100:200])
    assert answer.headers["content-range"] == f"bytes 100-199/{len(whole)}"


@pytest.mark.parametrize("name", ["clip.mp4", "poster.jpg", "strip.jpg", "sheet.jpg"])
@pytest.mark.parametrize("clip", ["nobody", "..%2f..%2fetc%2fpasswd", "%00", "a'%20or%20'1'='1", "é" * 300])
def test_an_unknown_clip_has_no_pictures_whatever_it_is_called(reading, clip, name):
    answer = reading.get(f"/clips/{clip}/{name}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_stored_video_that_cannot_be_read_is_a_sentence(catalog, client):
    catalog.upsert("media", [{"clip_id": "melt0", "video": b"broken", "bytes": 6}])
    answer = client.get("/clips/melt0/strip.jpg")
    assert answer.status_code == 404
    assert "nothing of it can be read" in answer.text


def test_a_strip_that_is_stored_is_shown_without_a_look_at_the_video(catalog, client):
    catalog.upsert("media", [{"clip_id": "melt0", "video": b"broken", "strip": b"a strip", "bytes": 6}])
    answer = client.get("/clips/melt0/strip.jpg")
    assert (answer.status_code, answer.content) == (200, b"a strip")


def test_a_page_has_read_its_clips_pictures_before_they_are_asked_for(catalog, client, monkeypatch):
    catalog.upsert("media", [{"clip_id": "melt0", "video": b"v", "poster": b"p", "strip": b"s", "bytes": 1}])
    assert client.get("/").status_code == 200
    monkeypatch.setattr(Catalog, "_blobs", None)  # nothing is read any more
    for name, data in (("poster.jpg", b"p"), ("strip.jpg", b"s")):
        assert client.get(f"/clips/melt0/{name}").content == data


def test_a_strip_shows_five_moments_in_order_over_the_colours_of_every_frame():
    red = np.linspace(0, 255, 49).astype(np.uint8)
    frames = np.zeros((49, 60, 90, 3), np.uint8)
    frames[..., 0] = red[:, None, None]
    frames[:, 30:, :, 2] = 255  # the lower half is blue all the time
    planes = np.stack([from_rgb(each) for each in frames])
    strip, other = (
        np.asarray(Image.open(io.BytesIO(each)).convert("RGB")).astype(int)
        for each in (effect_strip(frames), strip_of_planes(planes))
    )
    assert strip.shape == other.shape and abs(strip - other).mean() < 6
    assert strip.shape[1] == STRIP_WIDTH
    moments = strip[10, STRIP_WIDTH // 10 :: STRIP_WIDTH // 5, 0]
    assert len(moments) == 5
    assert (np.diff(moments) > 40).all()
    bar = strip[-BAR_HEIGHT:]
    assert (np.diff(bar[4, 20:-20:60, 0]) > 10).all()
    assert bar[-3, :, 2].mean() > 180 > 60 > bar[3, :, 2].mean()


def test_a_sheet_has_the_first_moment_first_and_the_last_one_last():
    frames = np.broadcast_to(np.arange(0, 245, 5, dtype=np.uint8)[:, None, None, None], (49, 64, 96, 3))
    sheet = np.asarray(Image.open(io.BytesIO(scrub_sheet(frames))).convert("L")).astype(int)
    height, width = sheet.shape[0] // SHEET_SIDE, sheet.shape[1] // SHEET_SIDE
    middles = [
        sheet[row * height + height // 2, column * width + width // 2]
        for row in range(SHEET_SIDE)
        for column in range(SHEET_SIDE)
    ]
    assert (np.diff(middles) > 5).all()
