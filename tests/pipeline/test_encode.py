"""Clips to features, with a real backbone of small random weights."""

import pytest
import torch

from pipeline.encode import EMPTY_CAPTION, EncodeSettings, encode, encoder_of
from pipeline.features.tensors import TornTensor, from_bytes, to_bytes
from pipeline.stored import read_stored
from tests.pipeline.made import make_catalog
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.errors import WeightsUnreachable

BACKBONE = BackboneSettings(
    model="random:0", num_frames=9, height=32, width=48, max_text_tokens=8, dtype="float32"
)
SETTINGS = EncodeSettings(first_frame_variants=2, batch_size=2)


def test_a_tensor_survives_its_bytes_and_torn_bytes_are_noticed():
    tensor = torch.randn(3, 4, 5).bfloat16()
    assert torch.equal(from_bytes(to_bytes(tensor), [3, 4, 5]), tensor)
    assert len(to_bytes(tensor.float())) == 3 * 4 * 5 * 2
    with pytest.raises(TornTensor, match="should be 120 bytes and is 118"):
        from_bytes(to_bytes(tensor)[:-2], [3, 4, 5])


@pytest.fixture(scope="module")
def encoded(ray_cluster, tmp_path_factory):
    """A catalogue of three categorised clips, one without a category and one torn, encoded once."""
    clips = dict.fromkeys(("a", "b", "c", "torn", "loose"), ("melt", "melt"))
    catalog = make_catalog(tmp_path_factory.mktemp("encoded"), clips, category_id="melt")
    catalog.update("clips", [{"clip_id": "loose", "category_id": None}])
    catalog.upsert("media", [{"clip_id": "torn", "video": b"not a video", "bytes": 11}])
    told = []
    report = encode(catalog, BACKBONE, SETTINGS, lambda done, total, info: told.append((done, total)))
    return catalog, report, told


def test_features_are_what_the_backbone_makes_of_the_clip(encoded):
    catalog, report, _ = encoded
    backbone = load_backbone(BACKBONE, {"vae", "text"})
    assert report.encoder_id == backbone.encoder_id == encoder_of(BACKBONE)
    row = catalog.get("features", ["b"]).to_pylist()[0]
    assert row["encoder_id"] == backbone.encoder_id
    ((_, frames, _),) = read_stored(catalog, ["b"])
    mean, std = backbone.encode_video(frames)
    assert row["latents_shape"] == list(backbone.latent_shape)
    torch.testing.assert_close(from_bytes(row["latents_mean"], row["latents_shape"]), mean.bfloat16())
    torch.testing.assert_close(from_bytes(row["latents_std"], row["latents_shape"]), std.bfloat16())
    text = backbone.encode_text(["a scene called b"])[0]
    torch.testing.assert_close(from_bytes(row["text_embedding"], row["text_shape"]), text.bfloat16())
    assert row["caption"] == "a scene called b"


def test_the_first_frame_is_stored_clean_and_in_noised_variants(encoded):
    catalog, _, _ = encoded
    row = catalog.get("features", ["b"]).to_pylist()[0]
    first = from_bytes(row["first_frame_latents"], row["first_frame_shape"])
    assert len(first) == 3
    ((_, frames, _),) = read_stored(catalog, ["b"])
    clean = load_backbone(BACKBONE, {"vae"}).encode_first_frame(frames[0])[0]
    torch.testing.assert_close(first[0], clean.bfloat16())
    assert not torch.equal(first[1], first[0])
    assert not torch.equal(first[1], first[2])


def test_the_empty_caption_is_stored_for_caption_dropout(encoded):
    catalog, _, _ = encoded
    row = catalog.get("features", [EMPTY_CAPTION]).to_pylist()[0]
    text = load_backbone(BACKBONE, {"text"}).encode_text([""])[0]
    torch.testing.assert_close(from_bytes(row["text_embedding"], row["text_shape"]), text.bfloat16())
    assert row["latents_mean"] is None


def test_what_was_left_out_is_counted_with_its_reason(encoded):
    _, report, told = encoded
    assert report.counts == {"accepted": 5, "uncategorised": 1, "present": 0, "encoded": 3, "failed": 1}
    assert list(report.failures) == ["torn"]
    assert (told[0], told[-1]) == ((0, 4), (4, 4))


def test_a_second_run_encodes_only_what_failed_and_what_has_a_new_caption(encoded):
    catalog, _first, _ = encoded
    catalog.update("clips", [{"clip_id": "c", "caption": "another scene"}])
    report = encode(catalog, BACKBONE, SETTINGS)
    assert report.counts == {"accepted": 5, "uncategorised": 1, "present": 2, "encoded": 1, "failed": 1}
    assert catalog.get("features", ["c"], ["caption"])["caption"].to_pylist() == ["another scene"]
    assert catalog.count("features") == 4


def test_another_geometry_or_precision_is_another_encoder():
    for change in ({"num_frames": 13}, {"dtype": "bfloat16"}, {"model": "random:1"}):
        assert encoder_of(BACKBONE.model_copy(update=change)) != encoder_of(BACKBONE)


def test_weights_out_of_reach_are_said_before_anything_runs(tmp_path):
    catalog = make_catalog(tmp_path, {})
    with pytest.raises(WeightsUnreachable, match="nobody/nothing"):
        encode(catalog, BACKBONE.model_copy(update={"model": "nobody/nothing"}), SETTINGS)


def test_features_that_a_disk_damaged_are_replaced_when_encoding_again(encoded):
    catalog, report, _ = encoded
    whole = catalog.get("features", ["b"]).to_pylist()[0]
    catalog.upsert("features", [whole | {"latents_mean": whole["latents_mean"][:-2]}])
    again = encode(catalog, BACKBONE, SETTINGS, again=True)
    assert (again.counts["present"], again.counts["encoded"]) == (0, report.counts["encoded"])
    assert catalog.get("features", ["b"]).to_pylist()[0]["latents_mean"] == whole["latents_mean"]
