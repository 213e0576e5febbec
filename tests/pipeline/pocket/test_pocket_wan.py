"""The shipped pocket Wan: it is diffusers' model, it knows effects by name, and methods train on it."""

import json

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from jobs.profile import load_profile
from pipeline.pocket.backbone import NAMES, known_categories, naming
from pipeline.pocket.families import FAMILIES
from pipeline.pocket.hypernetwork import pocket_settings
from pipeline.pocket.pairs import Pairs
from pipeline.pocket.renders import signed
from pipeline.samples.draw import HELD_OUT, draw_clip
from training.backbones.base import Scene
from training.backbones.registry import load_backbone
from training.backbones.wan.backbone import WanBackbone
from training.backbones.wan.conditioning import packed
from training.backbones.wan.pixels import image_state
from training.backbones.weights import POCKET, POCKET_WAN
from training.batch import Sample, TrainingBatch, collate
from training.errors import WeightsUnreachable
from training.generate import generate
from training.methods.registry import build_method, parse_settings
from training.pretrain.wan.encoded import encode

CLIPS = 8


@pytest.fixture(scope="module")
def backbone() -> WanBackbone:
    return load_backbone(load_profile("tiny-wan").backbone, ("transformer", "vae", "text"))


@pytest.fixture(scope="module")
def batch(backbone) -> tuple[TrainingBatch, list[str], list[str]]:
    """Clips that it never saw, as a batch; their captions and their effects."""
    numbers, known = range(HELD_OUT + 1, HELD_OUT + 1 + 6 * CLIPS, 6), known_categories(POCKET_WAN)
    drawn = [draw_clip(number, 49, 64, 96, effects=known) for number in numbers]  # of every sixth effect
    clips, captions, effects = (list(column) for column in zip(*drawn, strict=True))
    frames = signed(torch.from_numpy(np.stack(clips)))
    found = {name: each.float() for name, each in encode(backbone.vae, frames, numbers, "float32").items()}
    _, image, processor = backbone.part("vae")
    text = backbone.encode_text(captions)
    samples = [
        Sample(
            target_latents=found["mean"][place],
            first_frame_latents=packed(
                found["first"][place], image_state(image, processor, frames[place, :, 0])
            ),
            text_embeddings=text[place],
            sample_seed=number,
            pair_id=f"{number}<-{number}",
            reference_category=effects[place],
            reference_latents=found["mean"][place],
            reference_mask=torch.ones(13, 8, 12, dtype=torch.bool),
        )
        for place, number in enumerate(numbers)
    ]
    return collate(samples), captions, effects


def test_it_is_the_profiles_and_small(backbone):
    assert load_profile("tiny-wan").backbone == pocket_settings(family="wan")
    assert backbone.folder == POCKET_WAN and backbone.latent_shape == (13, 32, 8, 12)
    told = json.loads((POCKET_WAN / "pocket.json").read_text())
    size = sum(path.stat().st_size for path in POCKET_WAN.rglob("*") if path.is_file())
    assert told["bytes"] <= size < 20e6
    assert known_categories(POCKET_WAN) == known_categories(POCKET), "both can be asked for the same"


def test_weights_of_the_other_pocket_are_refused():
    with pytest.raises(WeightsUnreachable, match=r"holds a WanTransf.* set backbone\.family=wan"):
        load_backbone(pocket_settings(str(POCKET_WAN)), ["vae"])
    with pytest.raises(WeightsUnreachable, match=r"holds a CogVideoXTransf.* set backbone\.family=cogvideox"):
        load_backbone(pocket_settings(str(POCKET), "wan"), ["vae"])


def test_a_video_equals_diffusers_pipeline(backbone):
    pipe = WanImageToVideoPipeline.from_pretrained(POCKET_WAN)
    pipe.set_progress_bar_config(disable=True)
    frame = draw_clip(HELD_OUT, 1, 64, 96)[0][0]
    theirs = pipe(
        image=Image.fromarray(frame),
        prompt="melt melt a red ball",
        negative_prompt="a red ball",
        height=64,
        width=96,
        num_frames=49,
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(3),
    ).frames[0]
    ours = generate(
        *(backbone, None, None, frame, "melt melt a red ball"),
        steps=3,
        guidance=2.0,
        seed=3,
        negative_prompt="a red ball",
    )
    apart = np.abs(ours.numpy().astype(int) - (theirs * 255).round())
    assert apart.max() <= 2 and (apart > 1).mean() < 1e-3


@torch.no_grad()
def test_of_a_text_whose_padding_is_given_once_it_makes_the_same(backbone, batch):
    clips = batch[0].select(range(2))
    noisy, times, _ = backbone.dit.objective.corrupt(clips.target_latents, clips.sample_seeds)
    quick = FAMILIES["wan"].dit(backbone)
    made, wanted = (dit.velocity(noisy, times, clips.scene) for dit in (quick, backbone.dit))
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-4)
    assert quick.module is not backbone.dit.module


def test_its_pairs_are_what_it_encodes_itself(backbone, tmp_path):
    pairs = Pairs.load(backbone, tmp_path, HELD_OUT, 1, categories=NAMES[:2], precision="float32")
    frames = draw_clip(HELD_OUT, 49, 64, 96)[0]
    mean, _ = backbone.encode_video(frames)
    torch.testing.assert_close(pairs.encoded.mean[0].float(), mean, atol=0.02, rtol=0.02)
    shown = pairs.batch([0], [1], seed=0).first_frame_latents
    torch.testing.assert_close(shown[0], backbone.encode_first_frame(frames[0])[0], atol=0.02, rtol=0.02)
    pairs.own_clips([0, 1]).require_for(backbone.dit)


@torch.no_grad()
def test_told_an_effects_name_it_expects_that_effect(backbone, batch):
    """Under its effect's name each clip's loss is lower than under the seven others': by chance 1 in 256."""
    clips, captions, effects = batch
    objective = backbone.dit.objective
    noisy, times, target = objective.corrupt(clips.target_latents, clips.sample_seeds, 8.0)

    def losses(names: list[str]) -> torch.Tensor:
        text = backbone.encode_text([naming(*each) for each in zip(captions, names, strict=True)])
        predicted = backbone.dit.velocity(noisy, times, Scene(clips.first_frame_latents, text))
        return objective.losses(predicted, target, times)

    right = losses(effects)
    wrong = torch.stack([losses(effects[n:] + effects[:n]) for n in range(1, CLIPS)]).mean(dim=0)
    assert (wrong > right).all(), list(zip(effects, (wrong - right).tolist(), strict=True))
    assert wrong.mean() > 1.05 * right.mean()


@pytest.mark.parametrize("kind", ["video2lora", "category_lora"])
def test_a_method_trains_on_it(batch, kind):
    dit = load_backbone(load_profile("tiny-wan").backbone, ["transformer"]).dit
    settings = load_profile("tiny-wan").method if kind == "video2lora" else parse_settings({"kind": kind})
    clips = batch[0].select(range(2))
    method = build_method(settings, dit, categories=clips.references.categories)
    loss = method(clips)
    loss.loss.backward()
    assert loss.loss.isfinite() and 0.05 < loss.loss < 2
    grads = [value.grad for value in method.trainable_parameters()]
    assert any(grad is not None and grad.any() for grad in grads)
