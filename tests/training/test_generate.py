"""Everything here is compared with diffusers' own pipeline, loaded from the same folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDPMScheduler, CogVideoXImageToVideoPipeline
from PIL import Image

from tests.training.small_backbones import GEOMETRY, LATENTS, SMALL, TEXT_TOKENS, disturb, load_backbone
from training.backbones.base import Scene
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.cogvideox.conditioning import rotary_embedding, with_first_frame
from training.backbones.cogvideox.pixels import first_frame_scale
from training.backbones.cogvideox.sampler import CogVideoXSampler
from training.backbones.frames import to_signed
from training.batch import References
from training.errors import TrainingError
from training.generate import Guidance, denoise, generate
from training.methods.registry import build_method

PROMPT = "a red ball on a table"
ALL = ("transformer", "vae", "text")


@pytest.fixture(scope="module")
def backbone(tiny_folder) -> CogVideoXBackbone:
    return load_backbone(tiny_folder, ALL)


@pytest.fixture(scope="module")
def pipeline(tiny_folder, backbone) -> CogVideoXImageToVideoPipeline:
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (GEOMETRY.height, GEOMETRY.width, 3), dtype=np.uint8)


def their_video(pipeline, frame, steps: int, guidance: float, output: str = "np", **options) -> np.ndarray:
    return pipeline(
        image=Image.fromarray(frame),
        prompt=PROMPT,
        height=GEOMETRY.height,
        width=GEOMETRY.width,
        num_frames=GEOMETRY.num_frames,
        num_inference_steps=steps,
        guidance_scale=guidance,
        max_sequence_length=TEXT_TOKENS,
        generator=torch.Generator().manual_seed(3),
        output_type=output,
        **options,
    ).frames[0]


def assert_same_video(ours: torch.Tensor, theirs: np.ndarray) -> None:
    """Equal but for what another order of summation in the VAE can round to the next grey level."""
    apart = np.abs(ours.numpy().astype(int) - (theirs * 255).round())
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


@pytest.fixture(params=[False, True])
def inverted(request, backbone, pipeline):
    """Both of a VAE's configurations: CogVideoX-5B-I2V's, and that of 1.5."""
    before = backbone.vae.config.invert_scale_latents
    for vae in (backbone.vae, pipeline.vae):
        vae.register_to_config(invert_scale_latents=request.param)
    yield request.param
    for vae in (backbone.vae, pipeline.vae):
        vae.register_to_config(invert_scale_latents=before)


def test_the_image_condition_equals_diffusers_pipeline(backbone, pipeline, frame, inverted):
    image = to_signed(frame[None], GEOMETRY)
    noise = torch.randn(1, *LATENTS)
    theirs_noise, theirs = pipeline.prepare_latents(
        image,
        num_frames=GEOMETRY.num_frames,
        height=GEOMETRY.height,
        width=GEOMETRY.width,
        dtype=torch.float32,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
        latents=noise,
    )
    ours = with_first_frame(noise, backbone.encode_first_frame(frame)[:1])
    # Theirs draws from the posterior and ours takes its mean: as far apart as that posterior is wide.
    width = 4 * 0.01 / backbone.vae.config.scaling_factor
    assert torch.allclose(ours, torch.cat([theirs_noise, theirs], dim=2), atol=width)
    assert torch.count_nonzero(ours[:, 1:, LATENTS[1] :]) == 0
    # Multiplying where the configuration says to divide would be twice off.
    assert ours[:, 0, LATENTS[1] :].std() > 10 * width


def test_a_first_frame_is_scaled_as_the_vae_says_or_as_the_settings_do(backbone, frame):
    factor = backbone.vae.config.scaling_factor
    assert first_frame_scale(backbone.vae.config) == "multiply"

    def encoded(scale: str | None) -> torch.Tensor:
        settings = backbone.settings.model_copy(update={"first_frame_scale": scale})
        return replace(backbone, settings=settings).encode_first_frame(frame)

    plain = encoded("none")
    assert torch.equal(encoded(None), encoded("multiply"))
    assert torch.allclose(encoded("multiply"), plain * factor, atol=1e-5)
    assert torch.allclose(encoded("divide"), plain / factor, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (64, 96), (16, 32)])
def test_rotary_positions_equal_diffusers_pipeline(backbone, pipeline, size):
    theirs = pipeline._prepare_rotary_positional_embeddings(*size, 4, torch.device("cpu"))
    ours = rotary_embedding(backbone.transformer.config, 4, size[0] // 8, size[1] // 8, torch.device("cpu"))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("guidance", [6.0, 1.0])
def test_a_video_without_adapter_equals_diffusers_pipeline(backbone, pipeline, frame, guidance):
    ours = generate(backbone, None, None, frame, PROMPT, steps=3, guidance=guidance, seed=3)
    theirs = their_video(pipeline, frame, steps=3, guidance=guidance)
    assert ours.shape == (GEOMETRY.num_frames, GEOMETRY.height, GEOMETRY.width, 3)
    assert_same_video(ours, theirs)
    assert ours.float().std() > 5


def test_dpm_sampling_and_dynamic_guidance_equal_diffusers_pipeline(tiny_folder, backbone, frame):
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = CogVideoXDPMScheduler.from_config(pipe.scheduler.config)
    theirs = their_video(pipe, frame, steps=4, guidance=4.0, use_dynamic_cfg=True)
    options = {"scheduler": "dpm", "dynamic_guidance": True}
    ours = generate(backbone, None, None, frame, PROMPT, steps=4, guidance=4.0, seed=3, **options)
    assert_same_video(ours, theirs)


def test_an_identity_adapter_generates_what_the_frozen_backbone_does_and_another_does_not(
    tiny_folder, backbone, frame
):
    own = load_backbone(tiny_folder)
    method = build_method(SMALL, own.dit)
    mask = torch.ones(1, LATENTS[0], *LATENTS[2:], dtype=torch.bool)
    reference = References(("",), torch.randn(1, *LATENTS), mask)

    def made() -> torch.Tensor:
        with torch.no_grad():
            condition = method.condition(reference)
        return generate(backbone, method, condition, frame, PROMPT, steps=2, seed=1)

    frozen = generate(backbone, None, None, frame, PROMPT, steps=2, seed=1)
    assert torch.equal(made(), frozen)
    disturb(method, size=1.0)
    assert not torch.equal(made(), frozen)
    assert next(iter(method.adapters.layers.values())).down_pred is None


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_adapter_guidance_leads_from_the_frozen_backbone_to_the_adapter_and_beyond(tiny_folder, guidance):
    own = load_backbone(tiny_folder)
    method = build_method(SMALL, own.dit)
    torch.manual_seed(0)
    disturb(method, size=1.0)
    mask = torch.ones(1, LATENTS[0], *LATENTS[2:], dtype=torch.bool)
    with torch.no_grad():
        theta = method.condition(References(("",), torch.randn(1, *LATENTS), mask))
    noise, image = torch.randn(1, *LATENTS), torch.randn(1, *LATENTS[1:])
    negative, text = torch.randn(2, 1, TEXT_TOKENS, own.transformer.config.text_embed_dim)

    def latents(theta, guidance):
        # One step, so that what comes out is linear in the velocity.
        with method.under(theta) as velocity:
            return denoise(velocity, own.sampler(), noise, Scene(image, text), 1, guidance, negative)

    def guided(weight):
        how = Guidance(guidance, adapter=weight, without_adapter=lambda: method.under(None))
        return latents(theta, how)

    once = guided(1)
    assert torch.equal(once, latents(theta, Guidance(guidance)))
    plain, bare = (latents(adapter, Guidance(1.0)) for adapter in (theta, None))
    apart = (plain - bare).abs().max()
    assert apart > 1e-2
    assert ((guided(0) - once) - (bare - plain)).abs().max() < 1e-3 * apart
    assert ((guided(3) - once) - 2 * (plain - bare)).abs().max() < 1e-3 * apart


def test_progress_counts_every_step(backbone, frame):
    seen = []
    generate(backbone, None, None, frame, PROMPT, steps=3, progress=lambda *call: seen.append(call))
    assert [call[:2] for call in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2]["timestep"] == 999


def test_each_step_says_what_the_clean_latents_would_be_and_the_last_one_is_right(backbone, frame):
    seen = []

    def look(done: int, steps: int, facts: dict) -> None:
        seen.append(facts["clean"]())

    video = generate(backbone, None, None, frame, PROMPT, steps=4, seed=5, progress=look)
    assert [each.shape for each in seen] == [(1, *LATENTS)] * 4
    apart = [float((each - seen[-1]).abs().mean()) for each in seen]
    assert apart == sorted(apart, reverse=True)
    assert torch.equal(backbone.decode(seen[-1][0]), video)


def test_a_request_that_cannot_be_met_is_one_sentence(backbone, frame):
    with pytest.raises(TrainingError, match="denoising steps"):
        generate(backbone, None, None, frame, PROMPT, steps=0)
    with pytest.raises(TrainingError, match="needs the method"):
        generate(backbone, None, torch.zeros(1, 1, 1), frame, PROMPT, steps=1)
    with pytest.raises(TrainingError, match="No scheduler named"):
        backbone.sampler("euler")
    with pytest.raises(TrainingError, match="none of CogVideoX"):
        CogVideoXSampler({"_class_name": "DDPMScheduler"})
    scene = Scene(torch.zeros(1, *LATENTS[1:]), torch.zeros(1, 4, 32))
    with pytest.raises(TrainingError, match="negative prompts"):
        denoise(backbone.dit.velocity, backbone.sampler(), torch.zeros(1, *LATENTS), scene, 1, Guidance())
