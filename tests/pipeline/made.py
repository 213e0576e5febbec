"""Small catalogues of real clips, for tests of what comes after ingest."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from pipeline.video.transcode import encode_video

SPEC = ClipSpec(num_frames=49, fps=8, height=64, width=96)
# What `--set` says so that a working directory is of that geometry.
GEOMETRY = [f"clip.height={SPEC.height}", f"clip.width={SPEC.width}"]
LOOKS = {"melt": (200, 60, 20), "explode": (20, 180, 60), "freeze": (30, 60, 210), "glow": (230, 220, 120)}


def frames(look: str, number: int) -> np.ndarray:
    """A drifting pattern in the look's colours, uint8 [49, 64, 96, 3]; `number` varies phase and noise."""
    rng = np.random.default_rng([number, sum(map(ord, look))])
    y, x = np.mgrid[: SPEC.height, : SPEC.width]
    period = 6 + 5 * list(LOOKS).index(look)
    shift = np.arange(SPEC.num_frames)[:, None, None] * 0.4 + number
    wave = 0.6 + 0.4 * np.sin((x + y * (1 + list(LOOKS).index(look))) / period + shift)
    pixels = wave[..., None] * np.array(LOOKS[look]) + rng.normal(0, 3, (SPEC.height, SPEC.width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def make_catalog(folder: Path, clips: dict[str, tuple[str, str | None]], **facts) -> Catalog:
    """A catalogue of accepted clips.

    Args:
        clips: by clip id, the look of its frames and the label of its source.
        facts: further columns of every clip.
    """
    catalog = Catalog.create(folder / "catalog", SPEC)
    now = datetime.now(UTC)
    catalog.upsert(
        "sources",
        [
            {
                "source_uri": f"{clip}.mp4",
                "outcome": "accepted",
                "clip_ids": [clip],
                "label": label,
                "ingested_at": now,
            }
            for clip, (_, label) in clips.items()
        ],
    )
    catalog.upsert(
        "clips",
        [
            {
                "clip_id": clip,
                "source_uri": f"{clip}.mp4",
                "sha256": f"sha-{clip}",
                "spec_id": SPEC.spec_id,
                "status": "accepted",
                "caption": f"a scene called {clip}",
                "licence": "cc0",
                "created_at": now,
                **facts,
            }
            for clip in clips
        ],
    )
    videos = {
        clip: encode_video(frames(look, n), SPEC.fps) for n, (clip, (look, _)) in enumerate(clips.items())
    }
    catalog.upsert(
        "media", [{"clip_id": c, "video": video, "bytes": len(video)} for c, video in videos.items()]
    )
    return catalog
