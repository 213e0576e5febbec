"""Clips that tests ask a served catalogue for."""

import io
import time

from PIL import Image
from starlette.testclient import TestClient

from pipeline.video.transcode import encode_video
from tests.pipeline.made import frames

CLIPS = {"reference_clip": "melt0", "first_frame_clip": "freeze1"}
ASKED = {**CLIPS, "prompt": "a red mug", "seed": 3}


def ended(client: TestClient, request_id: str, seconds: float = 120) -> dict:
    """The request as its owner sees it when there is nothing more to come."""
    patient_until = time.monotonic() + seconds
    while (now := client.get(f"/api/requests/{request_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < patient_until, now
        time.sleep(0.05)
    return now


def uploads() -> dict:
    """A video and a picture, as a form sends them."""
    picture = io.BytesIO()
    Image.fromarray(frames("glow", 5)[0]).save(picture, "PNG")
    return {
        "reference": ("effect.mp4", encode_video(frames("explode", 7), 8), "video/mp4"),
        "first_frame": ("mug.png", picture.getvalue(), "image/png"),
    }
