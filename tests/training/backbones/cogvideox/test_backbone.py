import json
import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.training.small_backbones import GEOMETRY, LATENTS, TEXT_TOKENS, load_backbone
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.cogvideox.small import write_tiny_backbone
from training.backbones.geometry import SampleGeometry
from training.backbones.settings import BackboneSettings
from training.errors import BadBatch, InvalidGeometry, TrainingError, UnsupportedBackbone, WeightsUnreachable

FIELDS = {"num_frames": 9, "height": 32, "width": 48, "max_text_tokens": TEXT_TOKENS, "dtype": "float32"}


@pytest.fixture(scope="module")
def backbone(tiny_folder) -> CogVideoXBackbone:
    return load_backbone(tiny_folder, ("vae", "text"))


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (9, 40, 60, 3), dtype=np.uint8)


@pytest.fixture
def copy(tiny_folder, tmp_path):
    load_backbone(tiny_folder, ())
    return shutil.copytree(tiny_folder, tmp_path / "copy")


def test_the_same_seed_writes_the_same_weights_and_another_seed_others(backbone, tmp_path):
    twin = write_tiny_backbone(tmp_path / "twin", 1, GEOMETRY, TEXT_TOKENS)
    other = write_tiny_backbone(tmp_path / "other", 2, GEOMETRY, TEXT_TOKENS)
    ids = [
        CogVideoXBackbone.load(BackboneSettings(model=str(f), **FIELDS), ()).encoder_id for f in (twin, other)
    ]
    assert ids[0] == backbone.encoder_id != ids[1]


def test_random_weights_are_cached_and_named_by_seed_and_geometry(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDEO2LORA_CACHE", str(tmp_path))
    first = CogVideoXBackbone.load(BackboneSettings(model="random:7", **FIELDS), ("vae",))
    again = CogVideoXBackbone.load(BackboneSettings(model="random:7", **FIELDS), ("vae",))
    assert first.folder == again.folder
    assert [path.name for path in tmp_path.iterdir()] == [first.folder.name]
    assert first.encoder_id == again.encoder_id


def test_encoding_is_deterministic_and_has_the_contracts_shapes(backbone, clip):
    mean, std = backbone.encode_video(clip)
    again, _ = backbone.encode_video(clip)
    assert mean.shape == std.shape == LATENTS == backbone.latent_shape
    assert torch.equal(mean, again)
    assert 0.3 < mean.std() < 3
    assert (std > 0).all()


def test_floating_and_integer_pixels_encode_alike(backbone, clip):
    mean, _ = backbone.encode_video(clip)
    floating, _ = backbone.encode_video(clip.astype(np.float32) / 255)
    assert torch.allclose(mean, floating, atol=1e-4)


def test_latents_are_the_posterior_mean_times_the_scaling_factor_of_pixels_in_minus_one_to_one(backbone):
    pixels = np.random.default_rng(2).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    video = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        posterior = backbone.vae.encode(video).latent_dist
    mean, std = backbone.encode_video(pixels)
    factor = backbone.vae.config.scaling_factor
    assert torch.allclose(mean, (factor * posterior.mean)[0].transpose(0, 1), atol=1e-5)
    assert torch.allclose(std, (factor * posterior.std)[0].transpose(0, 1), atol=1e-6)


def test_a_longer_clip_is_thinned_and_a_shorter_one_makes_fewer_latent_frames(backbone, clip):
    longer = np.repeat(clip, 4, axis=0)
    assert backbone.encode_video(longer)[0].shape == LATENTS
    mean, _ = backbone.encode_video(clip[:8])
    assert mean.shape == (2, *LATENTS[1:])
    assert torch.equal(mean, backbone.encode_video(clip[:5])[0])


def test_the_first_frame_has_a_clean_variant_and_seeded_noisy_ones(backbone, clip):
    latents = backbone.encode_first_frame(clip[0], variants=2, seed=4)
    assert latents.shape == (3, *LATENTS[1:])
    assert torch.equal(latents, backbone.encode_first_frame(clip[0], variants=2, seed=4))
    assert torch.equal(latents[:1], backbone.encode_first_frame(clip[0]))
    other = backbone.encode_first_frame(clip[0], variants=2, seed=5)
    assert torch.equal(latents[0], other[0])
    for variant in (1, 2):
        assert not torch.equal(latents[variant], other[variant])
        assert not torch.equal(latents[0], latents[variant])
    assert not torch.equal(latents[1], latents[2])


def test_a_caption_is_embedded_alone_as_in_a_batch_and_padded_to_the_length(backbone):
    captions = ["a red ball on a table", "", "x" * 500]
    together = backbone.encode_text(captions)
    assert together.shape == (3, TEXT_TOKENS, 32)
    for row, caption in enumerate(captions):
        assert torch.allclose(backbone.encode_text([caption])[0], together[row], atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_decoding_returns_frames(backbone):
    latents = torch.randn(5, *LATENTS[1:])
    frames = backbone.decode(latents)
    assert frames.shape == (17, 32, 48, 3)
    assert frames.dtype == torch.uint8
    # diffusers' VAE makes sixteen frames of four latent ones. It decodes the first three together.
    even = backbone.decode(latents[:4])
    assert even.shape == (13, 32, 48, 3)
    assert torch.equal(even[:9], frames[:9])
    assert backbone.decode(latents[:1]).shape == (1, 32, 48, 3)


@pytest.mark.parametrize("change", [{"num_frames": 5}, {"dtype": "bfloat16"}, {"max_text_tokens": 20}])
def test_the_encoder_id_changes_with_geometry_and_precision(tiny_folder, backbone, change):
    settings = BackboneSettings(**(FIELDS | {"model": str(tiny_folder)} | change))
    assert CogVideoXBackbone.load(settings, ()).encoder_id != backbone.encoder_id


def test_the_encoder_id_changes_with_one_weight_and_not_with_a_librarys_version(backbone, copy):
    settings = BackboneSettings(model=str(copy), **FIELDS)
    config = copy / "vae" / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"_diffusers_version": "9.9"}))
    assert CogVideoXBackbone.load(settings, ()).encoder_id == backbone.encoder_id
    config.write_text(json.dumps(content | {"scaling_factor": 0.8}))
    assert CogVideoXBackbone.load(settings, ()).encoder_id != backbone.encoder_id
    config.write_text(json.dumps(content))
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert CogVideoXBackbone.load(settings, ()).encoder_id != backbone.encoder_id


def test_bf16_parts_load_and_encode(tiny_folder, clip):
    settings = BackboneSettings(**(FIELDS | {"model": str(tiny_folder), "dtype": "bfloat16"}))
    backbone = CogVideoXBackbone.load(settings)
    mean, _ = backbone.encode_video(clip)
    assert mean.dtype == backbone.encode_text(["x"]).dtype == backbone.transformer.dtype == torch.bfloat16
    assert mean.shape == LATENTS


def test_tiling_encodes_nearly_the_same_and_is_another_encoder(tmp_path):
    fields = FIELDS | {"model": str(tmp_path / "wide"), "num_frames": 5, "height": 96, "width": 160}
    write_tiny_backbone(tmp_path / "wide", 1, SampleGeometry(5, 96, 160), TEXT_TOKENS)
    whole, tiled = (
        CogVideoXBackbone.load(BackboneSettings(**fields, vae_tiling=on), ("vae",)) for on in (False, True)
    )
    pixels = np.linspace(0, 1, 5 * 96 * 160 * 3, dtype=np.float32).reshape(5, 96, 160, 3)
    first, second = whole.encode_video(pixels)[0], tiled.encode_video(pixels)[0]
    assert first.shape == second.shape == (2, 16, 12, 20)
    assert 0 < (first - second).abs().mean() < first.std()
    assert whole.encoder_id != tiled.encoder_id


def test_tiles_that_would_not_join_are_refused(tiny_folder):
    load_backbone(tiny_folder, ())
    settings = BackboneSettings(**FIELDS, model=str(tiny_folder), vae_tiling=True)
    with pytest.raises(InvalidGeometry, match="vae_tiling"):
        CogVideoXBackbone.load(settings, ("vae",))


def test_a_part_that_was_not_loaded_says_so(backbone):
    with pytest.raises(TrainingError, match="without its 'transformer'"):
        _ = backbone.transformer
    with pytest.raises(TrainingError, match="No part named 'unet'"):
        CogVideoXBackbone.load(backbone.settings, ("unet",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_frames": 12}, "4k \\+ 1"),
        ({"height": 40}, "multiples of 16"),
        ({"height": 48}, "positions fit 32×48"),
        ({"max_text_tokens": 20}, "max_text_tokens"),
    ],
)
def test_a_geometry_that_the_backbone_does_not_take_is_one_sentence(tiny_folder, change, says):
    load_backbone(tiny_folder, ())
    with pytest.raises(InvalidGeometry, match=says):
        CogVideoXBackbone.load(
            BackboneSettings(**(FIELDS | {"model": str(tiny_folder)} | change)), ("transformer",)
        )


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="modle"):
        BackboneSettings(modle="random:0")


@pytest.mark.parametrize("change", [{"patch_size_t": 2}, {"in_channels": 16}])
def test_a_backbone_of_another_kind_is_refused(copy, change):
    config = copy / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(UnsupportedBackbone):
        CogVideoXBackbone.load(BackboneSettings(model=str(copy), **FIELDS), ("transformer",))


def test_a_truncated_weights_file_is_one_sentence(copy):
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsUnreachable, match=r"vae.*not a whole safetensors file"):
        CogVideoXBackbone.load(BackboneSettings(model=str(copy), **FIELDS), ("vae",))


def test_pixels_that_are_no_frames_are_refused(backbone):
    with pytest.raises(BadBatch, match="n, H, W, 3"):
        backbone.encode_video(np.zeros((9, 32, 48), dtype=np.uint8))


def test_a_geometry_knows_its_latents():
    assert SampleGeometry(49, 64, 96).latent_shape(
        {"block_out_channels": (8, 16, 32, 32), "temporal_compression_ratio": 4, "latent_channels": 16}
    ) == (13, 16, 8, 12)
