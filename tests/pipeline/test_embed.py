"""Clips to vectors, with a real open_clip model of random weights."""

import json

import numpy as np
import pytest

from catalog.errors import VectorMismatch
from pipeline.embed import EmbedSettings, embed
from pipeline.embedding.clip_weights import EmbedderUnreachable, UnknownEmbedder, find_clip
from pipeline.embedding.embedder import Embedder
from pipeline.video.transcode import read_clip
from tests.pipeline.made import SPEC, frames, make_catalog

TINY = EmbedSettings(model="tiny", pretrained="random:0", batch_size=2)


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDEO2LORA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def embedder(weights) -> Embedder:
    return Embedder(TINY)


def test_a_clip_is_nearer_to_its_own_kind_than_to_another(embedder):
    melt, melt_too, freeze = embedder.embed_clips([frames("melt", 0), frames("melt", 1), frames("freeze", 2)])
    assert np.linalg.norm(melt) == pytest.approx(1, abs=1e-5)
    assert melt @ melt_too > melt @ freeze + 0.05


def test_words_lie_in_the_same_space_and_differ(embedder):
    words = embedder.embed_text(["a cat melts", "a dog explodes"])
    assert words.shape == (2, embedder.dim)
    assert words[0] @ words[1] < 0.9999


def test_random_weights_are_made_once_and_read_back_from_their_folder(embedder):
    first = find_clip("tiny", "random:0")
    again = find_clip("tiny", str(first.weights.parent))
    assert again.embedder_id(8) == embedder.embedder_id
    assert (
        "vision_cfg" in json.loads((first.weights.parent / "open_clip_config.json").read_text())["model_cfg"]
    )
    same = Embedder(EmbedSettings(model="tiny", pretrained=str(first.weights.parent)))
    np.testing.assert_array_equal(
        same.embed_frames(frames("melt", 0)), embedder.embed_frames(frames("melt", 0))
    )


@pytest.mark.parametrize("change", [{"pretrained": "random:1"}, {"frames": 4}])
def test_other_weights_or_frames_are_another_embedder(embedder, change):
    other = TINY.model_copy(update=change)
    assert find_clip(other.model, other.pretrained).embedder_id(other.frames) != embedder.embedder_id


def test_every_accepted_clip_gets_its_vector_once(ray_cluster, tmp_path, embedder):
    catalog = make_catalog(tmp_path, {f"clip-{i}": ("melt", None) for i in range(5)})
    catalog.upsert("clips", [{"clip_id": "refused", "status": "rejected"}])
    told = []
    report = embed(catalog, TINY, lambda done, total, info: told.append((done, total)))
    assert report.counts == {"accepted": 5, "present": 0, "embedded": 5, "failed": 0}
    assert (told[0], told[-1]) == ((0, 5), (5, 5))
    rows = {row["clip_id"]: row for row in catalog.scan("clips").to_pylist()}
    assert rows["refused"]["embedding"] is None
    assert rows["clip-3"]["embedder_id"] == embedder.embedder_id
    assert rows["clip-3"]["caption"] == "a scene called clip-3"
    expected = embedder.embed_frames(read_clip(catalog.videos(["clip-3"])["clip-3"]))
    np.testing.assert_allclose(rows["clip-3"]["embedding"], expected, atol=1e-5)

    versions = catalog.versions()
    assert embed(catalog, TINY).counts == {"accepted": 5, "present": 5, "embedded": 0, "failed": 0}
    assert catalog.versions() == versions


def test_a_clip_that_cannot_be_read_is_reported_and_the_others_are_embedded(ray_cluster, tmp_path):
    catalog = make_catalog(tmp_path, {"good": ("melt", None), "torn": ("melt", None), "gone": ("melt", None)})
    catalog.upsert("media", [{"clip_id": "torn", "video": b"not a video", "bytes": 11}])
    catalog.upsert("clips", [{"clip_id": "lost", "status": "accepted"}])
    report = embed(catalog, TINY)
    assert report.counts == {"accepted": 4, "present": 0, "embedded": 2, "failed": 2}
    assert set(report.failures) == {"torn", "lost"}
    assert "no video" in report.failures["lost"]


def test_a_catalogue_keeps_to_one_embedder_until_all_its_vectors_are_replaced(ray_cluster, tmp_path):
    catalog = make_catalog(tmp_path, {"one": ("melt", None)})
    embed(catalog, TINY)
    other = TINY.model_copy(update={"pretrained": "random:1"})
    with pytest.raises(VectorMismatch, match="video2lora embed --again"):
        embed(catalog, other)
    before = catalog.snapshot()
    report = embed(catalog, other, again=True)
    assert report.counts == {"accepted": 1, "present": 0, "embedded": 1, "failed": 0}
    new, old = (each.get("clips", ["one"]).to_pylist()[0] for each in (catalog, catalog.at(before)))
    assert new["embedder_id"] == report.embedder_id != old["embedder_id"]
    assert new["embedding"] != old["embedding"]


def test_weights_out_of_reach_are_one_sentence():
    with pytest.raises(EmbedderUnreachable, match=r"hf download timm/vit_large.*embed\.pretrained="):
        find_clip("ViT-L-14", "openai")


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("ViT-L-14", "opanai", "tags are openai"),
        ("ViT-Z-99", "openai", "no model 'ViT-Z-99'"),
        ("tiny", "random:x", "whole number"),
    ],
)
def test_an_unknown_model_or_tag_is_one_sentence(model, pretrained, says):
    with pytest.raises(UnknownEmbedder, match=says):
        find_clip(model, pretrained)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UnknownEmbedder, match=r"open_clip_config\.json"):
        find_clip("ViT-L-14", str(tmp_path))


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "ViT-L-14.pt"])
def test_a_pickle_is_never_read(tmp_path, name):
    """Whoever unpickles a file runs it."""
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {}}')
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(UnknownEmbedder, match=rf"{name} is not read: only \.safetensors files are"):
            find_clip("ViT-L-14", str(place))


def test_a_clip_of_one_frame_can_be_embedded(embedder):
    assert embedder.embed_frames(frames("melt", 0)[:1]).shape == (embedder.dim,)
    assert SPEC.num_frames == 49
