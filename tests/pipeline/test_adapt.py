"""Every accepted clip's adapter, stored once, and clips found by it."""

import numpy as np
import pytest
from typer.testing import CliRunner

from catalog.errors import CatalogError, VectorMismatch
from catalog.search import search_adapter
from jobs.cli import app
from pipeline.adapt import adapt
from pipeline.adapters import PROJECTED, keep_adapters, projected
from pipeline.embedding.settings import EmbedSettings
from pipeline.errors import BadSource
from pipeline.find import LazyEmbedder, LazyPredictor, find_hits
from pipeline.samples.draw import draw_clip
from pipeline.video.transcode import encode_video
from tests.pipeline.made import make_catalog
from training.backbones.settings import BackboneSettings
from training.release import shipped_model

MODEL = shipped_model()
BACKBONE = BackboneSettings.model_validate(MODEL.facts["backbone"])


@pytest.fixture
def near(tmp_path):
    """Twelve clips in two groups of adapters that are alike, with much in common."""
    catalog = make_catalog(tmp_path, {})
    draw = np.random.default_rng(0)
    shared, groups = 20 * draw.standard_normal(3_000), 3 * draw.standard_normal((2, 3_000))
    vectors = {
        f"{'ab'[n % 2]}{n:02}": shared + groups[n % 2] + draw.standard_normal(3_000) for n in range(12)
    }
    catalog.upsert("clips", [{"clip_id": clip, "caption": f"clip {clip}"} for clip in vectors])
    keep_adapters(catalog, "m", vectors)
    return catalog, vectors


def test_a_projection_keeps_the_angles_of_adapters():
    one, other, third = np.random.default_rng(1).standard_normal((3, 12_096))
    wanted, found = [], []
    for a, b in ((one, one + other), (one, other), (one, 0.3 * one + third)):
        wanted.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        a, b = projected(a), projected(b)
        found.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert len(projected(one)) == PROJECTED
    assert np.abs(np.array(wanted) - found).max() < 0.2


def test_clips_are_found_by_their_adapters_and_what_all_have_in_common_counts_for_nothing(near):
    catalog, vectors = near
    rows = search_adapter(catalog, projected(vectors["a00"]).tolist(), "m", limit=6)
    assert [row["clip_id"][0] for row in rows] == ["a"] * 6 and rows[0]["clip_id"] == "a00"
    assert rows[0]["score"] == pytest.approx(1) and "its adapter is like" in rows[0]["why"]
    assert search_adapter(catalog, projected(vectors["a00"]).tolist(), "m", limit=12)[-1]["score"] < 0
    with pytest.raises(CatalogError, match="adapter fill"):
        search_adapter(catalog, projected(vectors["a00"]).tolist(), "another")
    for wrong in ([1.0, 2.0], [float("nan")] * PROJECTED):
        with pytest.raises(VectorMismatch, match="--again"):
            search_adapter(catalog, wrong, "m")


def test_a_search_by_adapter_takes_words_filters_and_what_is_not_wanted(near):
    catalog, _ = near
    predictor = LazyPredictor(catalog, shipped_model(), BACKBONE)
    predictor.release = type(MODEL)("m", MODEL.path, MODEL.facts)
    model = LazyEmbedder(EmbedSettings())
    ask = {"by": predictor, "limit": 4}
    found = find_hits(catalog, model, like=["a00"], unlike=["b01"], **ask)
    assert [row["clip_id"][0] for row in found] == ["a"] * 4
    found = find_hits(catalog, model, like=["a00"], where="clip_id in ('b01', 'a04')", **ask)
    assert [row["clip_id"] for row in found] == ["a04", "b01"]
    found = find_hits(catalog, model, words="a06", like=["a00"], **ask)
    assert [row["clip_id"] for row in found] == ["a06"]
    with pytest.raises(BadSource, match="neither a video file nor a clip_id"):
        find_hits(catalog, model, like=["nothing"], **ask)


@pytest.mark.slow
def test_the_stage_fills_what_is_missing_and_a_stranger_is_compared(tmp_path, ray_cluster):
    looks = {"m1": ("melt", "melt"), "m2": ("melt", "melt"), "g1": ("glow", "glow"), "torn": ("glow", "glow")}
    catalog = make_catalog(tmp_path / "work", looks)
    catalog.upsert("media", [{"clip_id": "torn", "video": b"no video", "bytes": 8}])
    report = adapt(catalog, MODEL, BACKBONE)
    assert report.counts == {"accepted": 4, "present": 0, "predicted": 3, "failed": 1}
    assert "cannot be read" in report.failures["torn"]
    rows = catalog.scan("adapters").to_pylist()
    assert {(row["model_id"], len(row["projection"])) for row in rows} == {(MODEL.model_id, PROJECTED)}
    assert np.allclose(rows[0]["projection"], projected(np.array(rows[0]["vector"])), atol=1e-4)
    catalog.update("clips", [{"clip_id": "torn", "status": "rejected"}])
    told = []
    again = adapt(catalog, MODEL, BACKBONE, lambda *row: told.append(row[:2]))
    assert again.counts == {"accepted": 3, "present": 3, "predicted": 0, "failed": 0} and told == [(0, 0)]
    stranger = tmp_path / "stranger.mp4"
    stranger.write_bytes(encode_video(draw_clip(3, 49, 64, 96)[0], 8))
    asked = [
        "search",
        "--like",
        str(stranger),
        "--by",
        "adapter",
        "--model",
        "pocket",
        "-w",
        str(tmp_path / "work"),
    ]
    asked += ["--set", "clip.height=64", "--set", "clip.width=96"]
    done = CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False)
    assert done.exit_code == 0 and done.output.count("its adapter is like") == 3
