"""How long pages of the web take at 4,000 clips: `python -m tests.benchmarks.web [--clips N]`, JSON.

The catalogue is made: clips of 200 categories with captions, scores and clustered vectors of 512 numbers.
Requests go through the whole application in this process (no socket): median and 95th percentile, in
milliseconds. `cold` is a page of a catalogue that has just changed, `warm` the same page again, `turn` the
next page or clip.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from jobs.web.access import Access
from jobs.web.app import create_app
from jobs.web.site import Site
from pipeline.embedding.settings import EmbedSettings
from pipeline.find import LazyEmbedder
from pipeline.video.planes import from_rgb
from pipeline.video.strip import strip_of_planes
from pipeline.video.transcode import encode_planes

CATEGORIES, DIM = 200, 512
SUBJECTS = ("mug", "star", "duck", "house", "cactus", "mushroom", "rocket", "heart")


def make_catalog(folder: Path, clips: int) -> Catalog:
    """A catalogue of clips that have everything but videos."""
    catalog = Catalog.create(folder / "catalog", ClipSpec())
    ensure_vectors(catalog, "clips", "embedding", DIM, "made")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CATEGORIES, DIM))
    rows = []
    for number in range(clips):
        group = number % CATEGORIES
        vector = centres[group] + rng.normal(size=DIM)
        rows.append(
            {
                "clip_id": f"{number:032x}",
                "source_uri": f"/videos/effect_{group}/{number}.mp4",
                "category_id": f"effect_{group}",
                "category_source": "label",
                "caption": f"A red {SUBJECTS[number % 8]} on a table, effect {group} in front of a wall",
                "status": "accepted",
                "split": "val" if number % 9 == 0 else "train",
                "licence": ("cc0", "cc-by-4.0", None)[number % 3],
                "source": f"set-{number % 5}",
                "motion": float(rng.uniform()),
                "embedding": (vector / np.linalg.norm(vector)).astype(np.float32).tolist(),
                "embedder_id": "made",
                "created_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
            }
        )
    catalog.upsert("clips", rows)
    named = [
        {"category_id": f"effect_{n}", "name": f"effect {n}", "state": "active"} for n in range(CATEGORIES)
    ]
    catalog.upsert("categories", named)
    return catalog


def milliseconds(call: Callable[[], object], times: int, before: Callable[[], object] | None = None) -> dict:
    """Median and 95th percentile of a call; `before` runs before each and is not timed."""
    took = []
    for _ in range(times):
        if before:
            before()
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return {"p50": round(float(np.median(took)), 1), "p95": round(float(np.percentile(took, 95)), 1)}


def measure(clips: int, times: int) -> dict:
    """The figures of all pages."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog(Path(folder), clips)
        model = LazyEmbedder(EmbedSettings(model="tiny", pretrained="random:0"))
        site = Site(catalog, "work", Path(folder) / "pictures", Access("s" * 32, author="bench"), model)
        client = TestClient(create_app(site), "http://localhost")
        touched, place = count(), count(1)

        def touch() -> None:
            catalog.update("clips", [{"clip_id": f"{next(touched):032x}", "motion": 0.5}])

        def get(path: str) -> Callable[[], object]:
            def call() -> None:
                answer = client.get(path)
                assert answer.status_code == 200, (path, answer.status_code)

            return call

        pages = {
            "grid": "/",
            "facet": "/?category=effect_7&split=train",
            "filter": "/?where=motion > 0.5 and licence = 'cc0'",
            "words": "/?q=red duck",
            "like": f"/?like={5:032x}",
            "clip": f"/clips/{5:032x}",
            "categories": "/categories",
            "category": "/category?id=effect_7",
            "review": "/review",
            "palette": "/palette?typed=eff",
            "history": "/history",
        }
        found: dict[str, dict] = {}
        for name, path in pages.items():
            get(path)()
            found[name] = {
                "cold": milliseconds(get(path), times, touch),
                "warm": milliseconds(get(path), times),
            }
        found["grid"]["turn"] = milliseconds(lambda: get(f"/?page={next(place) % 60 + 1}")(), 3 * times)
        found["review"]["turn"] = milliseconds(lambda: get(f"/review?at={next(place) % 400}")(), 3 * times)
        found["strip"] = strips(catalog, client)
        return {"clips": clips, "milliseconds": found}


def strips(catalog: Catalog, client: TestClient) -> dict[str, dict]:
    """Strips of clips of 480 × 720 that nobody has seen yet: stored by ingestion, or made of the video."""
    row, column = np.mgrid[:480, :720]
    frames = [
        np.stack([row + 5 * n, column - 3 * n, row // 2 + column], 2).astype(np.uint8) for n in range(49)
    ]
    planes = np.stack([from_rgb(frame) for frame in frames])
    video, strip = encode_planes(planes, 8), strip_of_planes(planes)
    there, asked = [f"{number:032x}" for number in range(60)], count()
    catalog.upsert(
        "media",
        [{"clip_id": c, "video": video, "strip": strip if n < 48 else None} for n, c in enumerate(there)],
    )

    def look() -> None:
        assert client.get(f"/clips/{there[next(asked)]}/strip.jpg").status_code == 200

    return {"stored": milliseconds(look, 48), "made": milliseconds(look, 12)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4_000)
    parser.add_argument("--times", type=int, default=10)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.clips, asked.times), indent=2))


if __name__ == "__main__":
    main()
