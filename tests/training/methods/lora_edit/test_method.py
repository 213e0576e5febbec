"""LoRA-Edit on small weights of the real classes: its size, its inputs, its cost, and how it is fitted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.training.methods.lora_edit.small import (
    RANK,
    H,
    N,
    W,
    batch_of,
    build,
    changed,
    load_wan,
    video,
)
from tests.training.small_backbones import LATENTS, TEXT_TOKENS, load_backbone
from training.backbones.frames import to_signed
from training.backbones.wan.cost import training_flops
from training.backbones.wan.dit import WanDiT
from training.backbones.wan.published import SCHEDULER_14B_I2V, meta_transformer
from training.errors import BadMethodSettings, StateMismatch, TrainingError, UnsupportedBackbone
from training.generate import sample_shown
from training.methods.registry import build_method, edit_masks, parse_settings
from training.run.activations import checkpoint_blocks
from training.settings import EditSettings
from training.video_fit import CannotFit, fit_video

IMAGE_TOKENS = 17
masks = edit_masks()


@pytest.fixture
def backbone(wan_folder):
    return load_wan(wan_folder)


@pytest.fixture
def method(backbone):
    return build(backbone)


def test_the_published_model_gets_400_linears_of_76_7_million_parameters_and_153_megabytes():
    with torch.device("meta"):
        method = build_method(
            parse_settings({"kind": "lora_edit"}), WanDiT(meta_transformer(), SCHEDULER_14B_I2V)
        )
    assert len(method.lora.layers) == 10 * 40
    assert not any(name.endswith(("add_k_proj", "add_v_proj")) for name in method.lora.layers)
    values = sum(parameter.numel() for parameter in method.trainable_parameters())
    assert values == 76_677_120
    assert 2 * values == 153_354_240
    assert {layer.down.shape[0] for layer in method.lora.layers.values()} == {16}


def test_a_cogvideox_is_refused_in_one_sentence(tiny_folder):
    cogvideox = load_backbone(tiny_folder)
    with pytest.raises(
        BadMethodSettings, match=r"lora_edit is made for wan, and this backbone is a cogvideox"
    ):
        build_method(parse_settings({"kind": "lora_edit"}), cogvideox.dit)
    with pytest.raises(UnsupportedBackbone, match="no video with a mask"):
        cogvideox.encode_shown(video(), video()[0])
    with pytest.raises(TrainingError, match="leave the shift off"):
        cogvideox.sampler(shift=5.0)


def test_the_input_is_noisy_latents_the_mask_and_the_greyed_video_as_diffusers_lays_them_out(
    wan_folder, backbone, method
):
    """With only the first frame preserved it is what diffusers' pipeline prepares, but for its grey."""
    frames = video()
    kept = masks.case("first frame", changed())
    batch = batch_of(backbone, frames, kept)
    seen = []
    backbone.transformer.patch_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad(), method.under(None) as velocity:
        velocity(batch.target_latents, torch.tensor([500.0]), batch.scene)
    pipeline = WanImageToVideoPipeline.from_pretrained(wan_folder)
    latents, condition = pipeline.prepare_latents(
        to_signed(frames[:1], backbone.geometry),
        batch_size=1,
        height=H,
        width=W,
        num_frames=N,
        dtype=torch.float32,
        device=torch.device("cpu"),
        latents=batch.target_latents.transpose(1, 2),
    )
    theirs = torch.cat([latents, condition], dim=1)
    assert seen[0].shape == theirs.shape == (1, 36, 3, 4, 6)
    torch.testing.assert_close(seen[0][:, :20], theirs[:, :20])
    # Their grey is 0, and 128 of 255 is 0.004.
    assert (seen[0][:, 20:] - theirs[:, 20:]).abs().max() < 0.05 * theirs[:, 20:].abs().max()


def test_a_mask_in_space_changes_what_is_predicted_and_none_is_the_first_frame(backbone, method):
    frames, kept = video(), masks.case("first frame", changed())
    first = batch_of(backbone, frames, kept)
    time = torch.tensor([500.0])
    with torch.no_grad(), method.under(None) as velocity:
        told = velocity(first.target_latents, time, first.scene)
        untold = velocity(first.target_latents, time, replace(first.scene, kept=None))
        other = batch_of(backbone, frames, masks.preserved(changed()))
        assert torch.equal(told, untold)
        assert not torch.allclose(told, velocity(first.target_latents, time, other.scene), atol=1e-3)


def test_at_first_it_is_the_frozen_backbone_and_afterwards_it_is_not_nor_is_the_backbone_moved(
    wan_folder, backbone, method
):
    batch = batch_of(backbone, video(), masks.preserved(changed()))
    bare = load_wan(wan_folder, ["transformer"]).dit.velocity
    time = torch.tensor([500.0])
    with torch.no_grad():
        frozen = bare(batch.target_latents, time, batch.scene)
        with method.under(method.condition()) as velocity:
            assert torch.equal(velocity(batch.target_latents, time, batch.scene), frozen)
        disturb(method)
        with method.under(method.condition()) as velocity:
            assert not torch.allclose(velocity(batch.target_latents, time, batch.scene), frozen, atol=1e-3)
        with method.under(None) as velocity:
            assert torch.equal(velocity(batch.target_latents, time, batch.scene), frozen)


def disturb(method, size: float = 0.05):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in method.lora.layers.values():
            layer.up.add_(size * torch.randn(layer.up.shape, generator=generator))
    return method


@pytest.mark.parametrize("policy", ["none", "full", 3])
def test_a_step_is_counted_within_a_few_thousandths(backbone, method, policy):
    checkpoint_blocks(method.dit, "every_n" if policy == 3 else policy, 3 if policy == 3 else 1)
    batch = batch_of(backbone, video(), masks.preserved(changed()))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        method(batch).loss.backward()
    own = method.flops(LATENTS, policy) - method.dit.flops(LATENTS, policy)
    ours = training_flops(backbone.transformer.config, LATENTS, policy, IMAGE_TOKENS) + own
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.003)
    assert all(parameter.grad is not None for parameter in method.trainable_parameters())


def test_the_loss_is_the_mean_square_of_noise_minus_latents_at_a_uniform_time(backbone, method):
    batch = batch_of(backbone, video(), masks.preserved(changed()), seed=7)
    noisy, times, target = method.dit.objective.corrupt(batch.target_latents, batch.sample_seeds)
    with torch.no_grad(), method.under(method.condition()) as velocity:
        predicted = velocity(noisy, times, batch.scene)
    expected = (predicted - target).square().mean()
    torch.testing.assert_close(method(batch).loss, expected)


def test_a_fit_lowers_its_loss_and_goes_on_bit_for_bit_where_it_was_stopped(wan_folder, tmp_path):
    settings = EditSettings(lr=3e-3, save_every=4)
    backbone = load_wan(wan_folder)
    batch = batch_of(backbone, video(), masks.preserved(changed()))

    def at(step: int):
        return replace(batch, sample_seeds=torch.tensor([step % 5]))

    whole = build(backbone)
    fitted = fit_video(whole, at, 20, settings, tmp_path / "whole")
    begin, end = fitted.losses[:5].mean(), fitted.losses[-5:].mean()
    assert end < 0.95 * begin
    again = build(load_wan(wan_folder, ["transformer"]))

    def stop(step: int, *_) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_video(again, at, 20, settings, tmp_path / "again", stop)
    fresh = build(load_wan(wan_folder, ["transformer"]))
    resumed = fit_video(fresh, at, 20, settings, tmp_path / "again")
    assert resumed.resumed_from == 10
    assert torch.equal(resumed.losses, fitted.losses)
    theirs = whole.trainable_state()
    assert all(torch.equal(value, theirs[name]) for name, value in fresh.trainable_state().items())


def test_a_loss_that_is_no_number_and_a_state_of_another_fit_are_said(backbone, method, tmp_path):
    batch = batch_of(backbone, video(), masks.preserved(changed()))
    broken = replace(batch, target_latents=batch.target_latents * float("nan"))
    with pytest.raises(CannotFit, match=r"step 1 .* edit\.lr"):
        fit_video(method, lambda _: broken, 2, EditSettings(), tmp_path / "state")
    assert not (tmp_path / "state").exists()
    fit_video(method, lambda _: batch, 1, EditSettings(), tmp_path / "state")
    other = build(load_wan(backbone.folder, ["transformer"]), rank=RANK + 1)
    with pytest.raises(StateMismatch, match="no state of this fit"):
        fit_video(other, lambda _: batch, 2, EditSettings(), tmp_path / "state")


def test_a_single_edited_frame_is_a_sample(backbone, method):
    frames, kept = video(), ~changed()
    edited = 255 - frames[4]
    latents, _ = backbone.encode_video(edited[None])
    assert latents.shape == (1, 16, 4, 6)
    whole = batch_of(backbone, frames, kept)
    sample = replace(
        whole,
        target_latents=latents[None],
        first_frame_latents=backbone.encode_shown(masks.greyed(frames[4:5], kept[4:5]), frames[4])[None],
        kept=masks.folded(kept[4:5], 4, 6)[None],
    )
    assert sample.kept.shape == (1, 1, 4, 4, 6) and 0 < sample.kept.mean() < 1
    loss = method(sample).loss
    loss.backward()
    assert loss.isfinite() and method.trainable_parameters()[1].grad.abs().sum() > 0


def test_an_edited_video_equals_diffusers_pipeline_that_is_given_mask_and_condition(
    wan_folder, backbone, method
):
    """Their pipeline with its own VAE and scheduler, its `prepare_latents` told what to preserve."""
    disturb(method)
    frames, kept = video(), masks.preserved(changed())
    edited = frames.copy()
    edited[0, 8:20, 8:20] = (30, 60, 230)
    shown = masks.greyed(edited, kept)
    latents = sample_shown(
        backbone,
        method,
        method.condition(),
        backbone.encode_shown(shown, edited[0]),
        "a blue square",
        3,
        5.0,
        torch.Generator().manual_seed(3),
        kept=masks.folded(kept, *LATENTS[2:]),
        sampler=backbone.sampler(shift=5.0),
    )
    ours = backbone.decode(latents)
    pipe = WanImageToVideoPipeline.from_pretrained(wan_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=5.0)
    pipe.load_lora_weights(method.export(method.condition()))
    plain = pipe.prepare_latents

    def prepare(*args, **options):
        latents, condition = plain(*args, **options)
        posterior = pipe.vae.encode(to_signed(shown, backbone.geometry).transpose(0, 1)[None]).latent_dist
        mean, deviation = (
            torch.tensor(pipe.vae.config[name]).view(1, -1, 1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        video_latents = (posterior.mode() - mean) / deviation
        mask = torch.from_numpy(kept).float()[None]
        mask = torch.nn.functional.interpolate(mask, size=(4, 6), mode="nearest")
        mask = torch.cat([mask[:, :1].repeat_interleave(4, dim=1), mask[:, 1:]], dim=1)
        mask = mask.view(1, -1, 4, 4, 6).transpose(1, 2)
        told = torch.cat([mask, video_latents], dim=1)
        assert told.shape == condition.shape
        return latents, told

    pipe.prepare_latents = prepare
    theirs = pipe(
        image=Image.fromarray(edited[0]),
        prompt="a blue square",
        negative_prompt="",
        height=H,
        width=W,
        num_frames=N,
        num_inference_steps=3,
        guidance_scale=5.0,
        max_sequence_length=512,
        generator=torch.Generator().manual_seed(3),
    ).frames[0]
    apart = np.abs(ours.numpy().astype(int) - (theirs * 255).round())
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-2
    assert TEXT_TOKENS < 512 and ours.float().std() > 1
