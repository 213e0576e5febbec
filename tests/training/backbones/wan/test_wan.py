"""Wan 2.1 I2V on small weights of the real classes: everything equals diffusers' own pipeline."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.training.small_backbones import ADAPTERS, GEOMETRY, LATENTS, SMALL, TEXT_TOKENS
from tests.training.small_backbones import load_backbone as load_cogvideox
from training.backbones.frames import to_signed
from training.backbones.registry import load_backbone
from training.backbones.settings import BackboneSettings
from training.backbones.wan.backbone import WanBackbone
from training.backbones.wan.conditioning import require_image_to_video
from training.backbones.wan.cost import forward_flops, training_flops
from training.backbones.wan.published import TRANSFORMER_14B_I2V, meta_transformer
from training.backbones.wan.small import write_tiny_backbone
from training.batch import References, Sample, TrainingBatch, collate
from training.errors import (
    BadMethodSettings,
    InvalidGeometry,
    TrainingError,
    UnsupportedBackbone,
    WeightsUnreachable,
)
from training.generate import generate
from training.methods.registry import build_method, parse_settings
from training.run.activations import checkpoint_blocks

PROMPT = "a red ball on a table"
ALL = ("transformer", "vae", "text")
IMAGE_TOKENS = 17


def settings_of(folder: Path, **changes) -> BackboneSettings:
    sizes = {"num_frames": GEOMETRY.num_frames, "height": GEOMETRY.height, "width": GEOMETRY.width}
    fields = {"family": "wan", "max_text_tokens": TEXT_TOKENS, "dtype": "float32", **sizes}
    return BackboneSettings(model=str(folder), **fields | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("wan") / "tiny", 1, GEOMETRY, TEXT_TOKENS)


@pytest.fixture(scope="module")
def backbone(folder) -> WanBackbone:
    return load_backbone(settings_of(folder), ALL)


@pytest.fixture(scope="module")
def pipeline(folder) -> WanImageToVideoPipeline:
    pipe = WanImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (GEOMETRY.height, GEOMETRY.width, 3), dtype=np.uint8)


def batch_of(backbone: WanBackbone, *seeds: int) -> TrainingBatch:
    samples = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        width = backbone.transformer.config.image_dim
        first = np.prod(LATENTS) + IMAGE_TOKENS * width
        samples.append(
            Sample(
                target_latents=torch.randn(LATENTS, generator=generator),
                first_frame_latents=torch.randn(int(first), generator=generator),
                text_embeddings=torch.randn(TEXT_TOKENS, 32, generator=generator),
                sample_seed=seed,
                pair_id=f"{seed}<-{seed}",
                reference_latents=torch.randn(LATENTS, generator=generator),
                reference_mask=torch.ones(LATENTS[0], *LATENTS[2:], dtype=torch.bool),
            )
        )
    return collate(samples)


def test_mask_condition_and_image_equal_diffusers_pipeline(backbone, pipeline, frame):
    noise = torch.randn(1, *LATENTS)
    latents, condition = pipeline.prepare_latents(
        to_signed(frame[None], GEOMETRY),
        batch_size=1,
        height=GEOMETRY.height,
        width=GEOMETRY.width,
        num_frames=GEOMETRY.num_frames,
        dtype=torch.float32,
        device=torch.device("cpu"),
        latents=noise.transpose(1, 2),
    )
    first = backbone.encode_first_frame(frame)
    ours = backbone.dit.input_of(noise, first).transpose(1, 2)
    torch.testing.assert_close(ours, torch.cat([latents, condition], dim=1), rtol=1e-4, atol=1e-5)
    image = pipeline.encode_image(Image.fromarray(frame))
    assert image.shape[1] == IMAGE_TOKENS
    torch.testing.assert_close(first[0, np.prod(LATENTS) :].view(image.shape[1:]), image[0])


def test_text_equals_diffusers_pipeline_and_ends_in_zeros(backbone, pipeline):
    theirs = pipeline._get_t5_prompt_embeds(f"  {PROMPT} ", max_sequence_length=TEXT_TOKENS)
    ours = backbone.encode_text([f"  {PROMPT} "])
    torch.testing.assert_close(ours, theirs)
    assert not ours[0, -1].any() and ours[0, 0].any()


def test_latents_have_the_published_mean_and_deviation_taken_out_and_put_back(backbone, frame):
    video = np.stack([np.roll(frame, n, axis=1) for n in range(GEOMETRY.num_frames)])
    mean, std = backbone.encode_video(video)
    posterior = backbone.vae.encode(to_signed(video, GEOMETRY).transpose(0, 1)[None]).latent_dist
    published = {name: torch.tensor(backbone.vae.config[name]) for name in ("latents_mean", "latents_std")}
    assert published["latents_mean"][0] == pytest.approx(-0.7571)
    assert published["latents_std"][15] == pytest.approx(1.9160)
    shift, scale = (published[name].view(16, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    torch.testing.assert_close((mean.transpose(0, 1) * scale + shift), posterior.mean[0])
    torch.testing.assert_close(std.transpose(0, 1) * scale, posterior.std[0])
    decoded = backbone.vae.decode(posterior.mean).sample[0].permute(1, 2, 3, 0)
    grey = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round()
    assert (backbone.decode(mean).float() - grey).abs().max() <= 1
    assert backbone.latent_shape == LATENTS == tuple(mean.shape)


@pytest.mark.parametrize(("name", "guidance"), [(None, 5.0), (None, 1.0), ("euler", 5.0)])
def test_a_video_equals_diffusers_pipeline(folder, backbone, frame, name, guidance):
    pipe = WanImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if name == "euler":
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs = pipe(
        image=Image.fromarray(frame),
        prompt=PROMPT,
        negative_prompt="",
        height=GEOMETRY.height,
        width=GEOMETRY.width,
        num_frames=GEOMETRY.num_frames,
        num_inference_steps=3,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(3),
    ).frames[0]
    ours = generate(backbone, None, None, frame, PROMPT, steps=3, guidance=guidance, seed=3, scheduler=name)
    apart = np.abs(ours.numpy().astype(int) - (theirs * 255).round())
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
    assert ours.float().std() > 1


def test_the_loss_is_of_noise_minus_latents_at_a_uniform_time_unless_it_is_shifted(backbone):
    objective, batch = backbone.dit.objective, batch_of(backbone, *range(64))
    noisy, times, target = objective.corrupt(batch.target_latents, batch.sample_seeds)
    sigma = (times / 1000).view(-1, 1, 1, 1, 1)
    # x_σ + (1 - σ) v is the noise, x_σ - σ v the latents.
    torch.testing.assert_close(noisy - sigma * target, batch.target_latents, rtol=1e-4, atol=1e-4)
    assert 350 < times.mean() < 650 and times.min() >= 0 and times.max() < 1000
    shifted = objective.corrupt(batch.target_latents, batch.sample_seeds, timestep_shift=5.0)[1]
    torch.testing.assert_close(shifted / 1000, 5 * times / 1000 / (1 + 4 * times / 1000))
    predicted = target + 2
    torch.testing.assert_close(objective.losses(predicted, target, times), torch.full((64,), 4.0))
    assert (objective.weights(times, 5.0) <= (1 - times / 1000) ** 2 + 1e-6).all()
    assert 0 < objective.weight_near_noise(5.0) < 0.1


def test_a_prediction_may_read_the_gradient_of_its_own_loss(folder):
    dit = load_backbone(settings_of(folder), ["transformer"]).dit
    told = {"gradient_refinement": True, "identity_start": False}
    method = build_method(SMALL.model_copy(update=told), dit)
    latents = torch.randn(2, *LATENTS)
    mask = torch.ones(2, LATENTS[0], *LATENTS[2:], dtype=torch.bool)
    assert method.condition(References(("", ""), latents, mask)).isfinite().all()


@pytest.mark.parametrize("policy", ["none", "full", 3])
def test_adapters_train_on_it_and_a_step_is_counted(folder, policy):
    backbone = load_backbone(settings_of(folder), ["transformer"])
    method = build_method(parse_settings(SMALL.model_dump() | ADAPTERS), backbone.dit)
    checkpoint_blocks(method.dit, "every_n" if policy == 3 else policy, 3 if policy == 3 else 1)
    batch = batch_of(backbone, 1, 2)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        method(batch).loss.backward()
    own = method.flops(LATENTS, policy) - method.dit.flops(LATENTS, policy)
    config = backbone.transformer.config
    ours = training_flops(config, LATENTS, policy, IMAGE_TOKENS) + own
    assert 2 * ours == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert all(p.grad is not None for p in method.trainable_parameters())
    theta = method.condition(batch.references)
    assert any(name.startswith("transformer.blocks.0.attn1.to_q") for name in method.export(theta[:1]))


def test_a_forward_pass_is_counted_exactly_and_the_published_one_has_its_size(backbone):
    batch = batch_of(backbone, 1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        backbone.dit.velocity(batch.target_latents, torch.tensor([500.0]), batch.scene)
    counted = counter.get_total_flops()
    assert counted == forward_flops(backbone.transformer.config, LATENTS, IMAGE_TOKENS)
    published = meta_transformer()
    assert sum(p.numel() for p in published.parameters()) == pytest.approx(16.4e9, rel=0.01)
    assert len(published.blocks) == 40 and published.blocks[0].attn2.add_k_proj.in_features == 5120


def test_a_method_says_which_backbones_it_takes(folder):
    dit = load_backbone(settings_of(folder), ["transformer"]).dit
    with pytest.raises(BadMethodSettings, match=r"video_as_prompt is made for cogvideox, .* is a wan"):
        build_method(parse_settings({"kind": "video_as_prompt"}), dit)


def test_weights_of_the_other_family_are_one_sentence_that_says_what_to_set(folder, tiny_folder):
    theirs = load_cogvideox(tiny_folder, ()).settings
    with pytest.raises(WeightsUnreachable, match=r"holds a CogVideoXTransf.* set backbone\.family=cogvideox"):
        load_backbone(settings_of(theirs.model), ["transformer"])
    with pytest.raises(WeightsUnreachable, match=r"holds a WanTransf.* set backbone\.family=wan"):
        load_backbone(theirs.model_copy(update={"model": str(folder)}), ["vae"])


@pytest.mark.parametrize("part", ["transformer", "vae", "image_encoder", "text_encoder"])
def test_missing_and_unknown_tensors_are_refused(folder, tmp_path, part):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = next((copy / part).glob("*.safetensors"))
    tensors = load_file(path)
    lost = sorted(name for name in tensors if name != "shared.weight")[0]
    save_file(tensors | {"stranger": tensors.pop(lost)}, path)
    asked = {"image_encoder": "vae", "text_encoder": "text"}.get(part, part)
    with pytest.raises(WeightsUnreachable, match="unknown are stranger"):
        load_backbone(settings_of(copy), [asked])


@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_along_a_straight_flow_every_step_says_the_same_clean_latents(backbone, name):
    noise, clean = torch.randn(2, 1, *backbone.latent_shape)
    sampler = backbone.sampler(name)
    latents = sampler.begin(noise, 4)
    for t in sampler.timesteps:
        assert torch.allclose(sampler.clean(noise - clean, t, latents), clean, atol=5e-3)
        latents = sampler.step(noise - clean, t, latents, None)
    assert torch.allclose(latents, clean, atol=5e-3)


def test_what_wan_cannot_do_is_one_sentence(folder, backbone):
    with pytest.raises(UnsupportedBackbone, match="begin at time 0"):
        backbone.dit.rotary(backbone.latent_shape, torch.device("cpu"), first=-1)
    with pytest.raises(InvalidGeometry, match="512 text tokens"):
        load_backbone(settings_of(folder, max_text_tokens=513), ["text"])
    with pytest.raises(UnsupportedBackbone, match="takes no image"):
        require_image_to_video(TRANSFORMER_14B_I2V | {"image_dim": None})
    with pytest.raises(UnsupportedBackbone, match="last frame"):
        require_image_to_video(TRANSFORMER_14B_I2V | {"pos_embed_seq_len": 514})
    with pytest.raises(TrainingError, match="no dynamic guidance"):
        backbone.sampler().dynamic(5.0, torch.tensor(500))
    with pytest.raises(TrainingError, match="No scheduler named 'ddim'"):
        backbone.sampler("ddim")
