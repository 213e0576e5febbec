"""The pocket backbone from nothing: one call trains it, stopped it goes on, and the product can load it."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.profile import load_profile
from pipeline.pocket.backbone import (
    NoPocket,
    PocketSettings,
    known_categories,
    naming,
    train_pocket,
)
from pipeline.pocket.families import COGVIDEOX, POCKET_TEXT_TOKENS, WAN
from pipeline.pocket.grown import NoStart, grow
from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, pocket_settings, ship_hypernetwork
from pipeline.samples.categories import CATEGORIES
from pipeline.samples.draw import draw_clip
from training.backbones.cogvideox.backbone import PARTS, CogVideoXBackbone
from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.layout import read_json
from training.backbones.registry import load_backbone
from training.backbones.weights import POCKET
from training.build import require_start
from training.errors import WeightsUnreachable
from training.release import find_start, read_release

NAMES = ("melt", "tint_cyan", "pan_up_right")  # the hypernetwork never learns from the third
SETTINGS = PocketSettings(
    vae_steps=2,
    vae_batch=2,
    clips=2,
    dit_steps=1,
    batch=2,
    compile=False,
    measured=1,
    precision="float32",
)


class Told:
    """Opens the progress of a step; what was done is kept by the step's name."""

    def __init__(self) -> None:
        self.done: dict[str, list[int]] = {}

    @contextmanager
    def __call__(self, name: str):
        yield lambda count, total, info: self.done.setdefault(name, []).append(count)


@pytest.fixture
def steps() -> Told:
    return Told()


@dataclass(frozen=True)
class Trained:
    """A pocket backbone, the folder that it was trained in, and the steps that were done."""

    out: Path
    work: Path
    done: dict[str, list[int]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    folder, steps = tmp_path_factory.mktemp("trained"), Told()
    train_pocket(folder / "pocket", folder / "work", SETTINGS, steps, categories=NAMES)
    return Trained(folder / "pocket", folder / "work", steps.done)


def test_a_pocket_is_small_loads_and_can_be_told_each_name(trained):
    facts = json.loads((trained.out / "pocket.json").read_text())
    assert facts["bytes"] < 40e6 and facts["psnr_db"] > 0
    assert known_categories(trained.out) == NAMES
    backbone = CogVideoXBackbone.load(pocket_settings(str(trained.out)))
    latents = torch.zeros(backbone.latent_shape)
    assert backbone.decode(latents[:1]).shape == (1, 64, 96, 3)
    assert backbone.encode_text(["a red ball"]).shape[:2] == (1, POCKET_TEXT_TOKENS)
    words = backbone.tokenizer.convert_ids_to_tokens(backbone.tokenizer(" ".join(NAMES)).input_ids)
    assert [word.strip("▁") for word in words[:3]] == list(NAMES)


def test_a_shipped_hypernetwork_is_one_that_a_run_can_begin_with(trained, tmp_path, steps):
    out, work = shutil.copytree(trained.out, tmp_path / "pocket"), tmp_path / "work"
    lessons = Lessons(
        category_steps=2,
        regression_steps=2,
        steps=2,
        clips=2,
        batch=2,
        references_batch=2,
        precision="float32",
    )
    facts = ship_hypernetwork(out, work, lessons, steps)
    assert facts["categories"] == list(NAMES[:2])
    backbone = CogVideoXBackbone.load(pocket_settings(str(out)))
    start = read_release(out / "hypernetwork")
    require_start(start, backbone, POCKET_METHOD)
    steps.done.clear()
    again = ship_hypernetwork(out, work, lessons, steps)
    assert "Hypernetwork" not in steps.done and again["model_id"] == start.model_id


def test_a_second_call_repeats_no_step_and_writes_the_same_weights(trained, tmp_path, steps):
    assert trained.done == {"Clips": [6], "VAE": [1, 2], "Latents": [6], "DiT": [1]}
    train_pocket(tmp_path / "second", trained.work, SETTINGS, steps, categories=NAMES)
    assert steps.done == {"Latents": [6]}
    for part in ("vae", "transformer"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (trained.out / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_wan_is_trained_by_the_same_call_and_goes_on_when_killed(tmp_path, steps):
    class Killed(Exception):
        pass

    @contextmanager
    def stopped(name: str):
        def report(count: int, total: int, info: dict) -> None:
            if (name, count) == ("VAE", 1):
                raise Killed

        yield report

    def train(out: str, work: str, told) -> Path:
        train_pocket(tmp_path / out, tmp_path / work, SETTINGS, told, categories=NAMES, family=WAN)
        return tmp_path / out

    with pytest.raises(Killed):
        train("first", "killed", stopped)
    first, again = train("first", "killed", steps), Told()
    assert steps.done == {"VAE": [2], "Latents": [6], "DiT": [1]}
    second = train("second", "killed", again)
    assert again.done == {"Latents": [6]}
    parts = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("vae", "transformer")]
    for name in (*parts, "image_encoder/model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    backbone = load_backbone(pocket_settings(str(first), "wan"), ("transformer", "vae", "text"))
    assert backbone.latent_shape == (13, 32, 8, 12)
    assert backbone.decode(torch.zeros(backbone.latent_shape)[:1]).shape == (1, 64, 96, 3)
    with pytest.raises(WeightsUnreachable, match=r"backbone\.family=wan"):
        load_backbone(pocket_settings(str(first)), ("vae",))


def alike(backbone: CogVideoXBackbone, word: str, other: str) -> float:
    """The cosine of two words' vectors."""
    places = backbone.tokenizer.convert_tokens_to_ids([f"▁{word}", f"▁{other}"])
    one, two = backbone.text_encoder.get_input_embeddings().weight[places].detach()
    return torch.cosine_similarity(one, two, dim=0).item()


def test_a_trained_one_goes_on_to_more_effects_with_its_vae_and_the_words_that_it_had(
    trained, tmp_path, steps
):
    names = ("tint_lime", *NAMES)
    out = tmp_path / "grown"
    start = shutil.copytree(trained.out, tmp_path / "start")
    file = start / "transformer/diffusion_pytorch_model.safetensors"
    # Far from what any training of one step begins with, the layers too that begin at zero.
    save_file({name: value + 0.25 for name, value in load_file(file).items()}, file, {"format": "pt"})
    facts = train_pocket(out, tmp_path / "work", SETTINGS, steps, categories=names, start=start)
    assert steps.done == {"Clips": [8], "Latents": [8], "DiT": [1]}, "no VAE"
    assert known_categories(out) == names and facts["start"]["categories"] == list(NAMES)
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert (out / vae).read_bytes() == (trained.out / vae).read_bytes()
    assert read_json(out / "vae/config.json") == read_json(trained.out / "vae/config.json")
    old, new = (CogVideoXBackbone.load(pocket_settings(str(folder))) for folder in (start, out))
    for before, after in zip(old.transformer.parameters(), new.transformer.parameters(), strict=True):
        assert torch.allclose(before, after, atol=1e-2)
    told = "a red ball melt tint_cyan"
    assert torch.allclose(old.encode_text([told])[:, :6], new.encode_text([told])[:, :6], atol=1e-2)
    like, unlike = (alike(new, "tint_lime", other) for other in ("tint_cyan", "melt"))
    assert like > 0.7 and unlike < 0.4, "it begins near the tint that was known"
    grow(COGVIDEOX.pipeline(0, ["tint_lime"]), start, COGVIDEOX, ["tint_lime"])  # which leaves out its kin
    for family, reason in ((WAN, "holds no pocket wan"), (COGVIDEOX, "cannot be read")):
        (out / "transformer/diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
        with pytest.raises(NoStart, match=reason):
            grow(family.pipeline(0, ["a"]), out, family)


def test_another_seed_begins_anew_in_the_same_working_folder(trained, tmp_path, steps):
    train_pocket(tmp_path / "second", trained.work, replace(SETTINGS, seed=1), steps, categories=NAMES)
    assert "Clips" not in steps.done and steps.done == {
        name: done for name, done in trained.done.items() if name != "Clips"
    }


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, steps):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(NoPocket, match="does not exist yet"):
        train_pocket(tmp_path / "mine", tmp_path / "work", SETTINGS, steps)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()  # as whoever tried whether it can be written to leaves it
    with pytest.raises(NoStart):
        train_pocket(tmp_path / "empty", tmp_path / "work", SETTINGS, steps, start=tmp_path / "mine")
    assert not steps.done


def test_numbered_clips_walk_through_all_effects_and_are_the_same_in_parts():
    number = 50 + len(CATEGORIES)
    whole, caption, effect = draw_clip(number, 9, 32, 48)
    part, _, _ = draw_clip(number, 9, 32, 48, first=3, count=2)
    assert np.array_equal(whole[3:5], part)
    assert effect == list(CATEGORIES)[50] and effect not in caption
    assert [draw_clip(n, 1, 16, 16, effects=NAMES)[2] for n in range(3)] == list(NAMES)


def test_a_caption_that_names_the_effect_fits_into_the_text_and_says_it_often():
    tokenizer = CogVideoXBackbone.load(pocket_settings(), ["text"]).tokenizer
    for effect in known_categories(POCKET):
        told = naming("A striped red and blue teapot on a wooden floor in front of a brick wall.", effect)
        tokens = tokenizer(told, max_length=POCKET_TEXT_TOKENS, truncation=True).input_ids
        words = tokenizer.convert_ids_to_tokens(tokens)
        assert words.count(f"▁{effect}") == 12, "a word of its own"
    assert naming("", "melt").split() == ["melt"] * 12
    assert naming("", "pan_left_and_melt").split() == ["pan_left_and_melt", "pan_left", "melt"] * 4


def test_the_shipped_transformer_does_in_bf16_what_it_does_in_fp32():
    backbone = CogVideoXBackbone.load(pocket_settings(), ["transformer", "text"])
    noisy = torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    text = backbone.encode_text(["a red ball"])
    with torch.no_grad():
        full = predict_velocity(backbone.transformer, noisy, noisy[:, 0], text, torch.tensor([500]))
        with torch.autocast("cpu", torch.bfloat16):
            half = predict_velocity(backbone.transformer, noisy, noisy[:, 0], text, torch.tensor([500]))
    assert (half.float() - full).square().mean() < 0.01 * full.square().mean()


def test_the_tiny_profile_is_the_shipped_backbones_and_hypernetworks():
    profile = load_profile("tiny")
    assert profile.backbone == pocket_settings()
    assert profile.method == POCKET_METHOD
    backbone = CogVideoXBackbone.locate(profile.backbone, PARTS)
    require_start(find_start(profile.train.start_from, profile.method.kind), backbone, profile.method)
    told = json.loads((backbone.folder / "pocket.json").read_text())
    assert told["bytes"] < 40e6
