"""The studio as people use it from Python, on the pocket backbone and the model that comes with it."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline
from PIL import Image

from catalog.store import Catalog
from pipeline.adapters import Adapter, Reference, load_adapter, parse_weighted, save_adapter
from pipeline.errors import BadSource
from pipeline.features.tensors import to_bytes
from pipeline.samples.draw import draw_clip
from pipeline.studio import BadSetting, Studio
from pipeline.video.transcode import encode_video
from tests.pipeline.made import SPEC, make_catalog
from tests.pipeline.video.video_files import FFMPEG, psnr, write
from training.backbones.weights import POCKET
from training.errors import BadAdapter, TrainingError
from training.release import shipped_model
from training.settings import GenerateSettings

README = Path(__file__).parents[2] / "README.md"
QUICK = GenerateSettings(steps=2, guidance=1.0, polish={"batch_size": 1})
PROMPT = "a red ball on a table"


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [draw_clip(number, 49, 64, 96)[0] for number in (3, 7)]


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Studio:
    catalog = make_catalog(
        tmp_path_factory.mktemp("studio"), {"one": ("melt", "melt"), "two": ("glow", "glow")}
    )
    return Studio(catalog, shipped_model(), settings=QUICK)


@pytest.fixture(scope="module")
def plain(studio, clips) -> np.ndarray:
    """The first clip's effect on the second's first frame."""
    return studio.make(Reference("a.mp4", clips[0]), clips[1][0], PROMPT).frames


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_an_exported_adapter_in_a_plain_diffusers_pipeline_makes_our_frames(studio, clips, tmp_path):
    made = studio.make(Reference("a.mp4", clips[0]), clips[1][0], PROMPT, seed=5, strength=1.5)
    _, lora = made.save(tmp_path / "clip.mp4")
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(POCKET, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(lora)

    frames = pipe(
        image=Image.fromarray(clips[1][0]),
        prompt=PROMPT,
        height=64,
        width=96,
        num_frames=49,
        num_inference_steps=2,
        guidance_scale=1.0,
        max_sequence_length=studio.backbone.settings.max_text_tokens,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).frames[0]
    assert apart((frames * 255).round().astype(np.uint8), made.frames) < 0.01
    bare = studio.draft(Reference("a.mp4", clips[0]), clips[1][0], PROMPT, seed=5, strength=0.0)
    assert apart(bare.develop().frames, made.frames) > 0.1


def test_strength_scales_the_effect_and_nothing_else(studio, clips):
    reference = Reference("a.mp4", clips[0])

    def made(strength: float):
        return studio.draft(reference, clips[1][0], PROMPT, steps=1, strength=strength)

    plain, none, away = made(1.0), made(0.0), made(-1.0)
    adapter = studio.adapter(reference)
    frozen = replace(adapter, condition=adapter.condition * 0)
    assert torch.equal(none.latents, studio.draft(frozen, clips[1][0], PROMPT, steps=1).latents)
    # One step: what the adapter does is all but linear in its strength where it does little.
    there, back = plain.latents - none.latents, away.latents - none.latents
    assert there.abs().max() > 1e-2
    assert torch.nn.functional.cosine_similarity(there.flatten(), -back.flatten(), dim=0) > 0.3
    assert any("leads away from the effect" in note for note in away.notes) and not plain.notes
    assert away.adapter.facts["strength"] == -1


def test_references_are_blended_by_weight(studio, clips):
    both = [Reference("a.mp4", clips[0]), Reference("b.mp4", clips[1])]
    one = studio.draft(both[0], clips[1][0], PROMPT, steps=1)
    first = studio.draft(both, clips[1][0], PROMPT, steps=1, weights=[1.0, 0.0])
    half = studio.draft(both, clips[1][0], PROMPT, steps=1)
    assert torch.allclose(first.latents, one.latents, atol=1e-4)
    assert (half.latents - one.latents).abs().max() > 1e-2
    named = studio.adapter(both, weights=[0.5, 0.5])
    assert torch.equal(half.adapter.condition, named.condition)
    assert named.facts["blend"] == [{"reference": "a file", "weight": 0.5}] * 2
    for weights, says in (([0.5], "2 adapters have 1 weights"), ([0.5, float("nan")], "no finite number")):
        with pytest.raises(BadSource, match=says):
            studio.adapter(both, weights=weights)


def test_a_weight_stands_behind_an_equals_sign_unless_a_file_is_called_so(studio, tmp_path):
    odd = tmp_path / "melt=2.mp4"
    odd.write_bytes(b"")
    assert parse_weighted(studio.catalog, "melt.mp4=-0.5") == ("melt.mp4", -0.5)
    assert parse_weighted(studio.catalog, str(odd)) == (str(odd), None)
    assert parse_weighted(studio.catalog, f"{odd}=0.3") == (str(odd), 0.3)
    for wrong in ("melt.mp4=much", "melt.mp4=nan", "=1"):
        with pytest.raises(BadSource, match="no weight"):
            parse_weighted(studio.catalog, wrong)


def test_guidance_takes_a_negative_prompt_and_changes_along_the_way(studio, clips):
    adapter = studio.adapter(Reference("a.mp4", clips[0]))

    def made(**settings) -> torch.Tensor:
        return studio.draft(adapter, clips[1][0], PROMPT, steps=2, guidance=4.0, **settings).latents

    usual, negative, dynamic = made(), made(negative_prompt="snow"), made(dynamic_guidance=True)
    assert (usual - negative).abs().max() > 1e-3 and (usual - dynamic).abs().max() > 1e-3


def test_what_is_cut_and_what_counts_for_nothing_is_told(studio, clips):
    long = "a ball and " * 40 + "a giraffe"
    made = studio.draft(
        Reference("a.mp4", clips[0]), clips[1][0], long, steps=1, negative_prompt="snow " * 60
    )
    assert any("nothing of" in note and "giraffe" in note for note in made.notes)
    assert any("count above 1 only" in note for note in made.notes)
    assert any(note.startswith("The negative prompt is longer") for note in made.notes)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "steps=0"),
        ({"strength": float("nan")}, "strength=nan"),
        ({"stepz": 3}, "stepz"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence_with_those_there_are(studio, settings, says):
    with pytest.raises(BadSetting, match=says) as refused:
        studio.chosen(**settings)
    assert "negative_prompt" in str(refused.value)


def test_seeds_are_made_under_one_adapter_and_equal_single_clips(studio, clips):
    told, kept = [], {}
    asked = (Reference("a.mp4", clips[0]), clips[1][0], PROMPT)
    made = dict(studio.seeds(*asked, [4, 9], lambda *row: told.append(row[:2]), keep=kept.__setitem__))
    assert list(made) == [4, 9] and kept == made
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.array_equal(made[9].frames, studio.make(*asked, seed=9).frames)
    assert not np.array_equal(made[4].frames, made[9].frames)


def test_what_progress_raises_ends_the_work_between_two_steps_and_leaves_the_studio_usable(
    studio, clips, plain
):
    class Cancelled(Exception):
        pass

    def stop(done, total, facts):
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        studio.make(Reference("a.mp4", clips[0]), clips[1][0], PROMPT, stop)
    assert np.array_equal(studio.make(Reference("a.mp4", clips[0]), clips[1][0], PROMPT).frames, plain)


def test_seeds_that_are_interrupted_keep_what_was_denoised(studio, clips):
    kept = {}

    def stop(done, total, facts):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(studio.seeds(Reference("a", clips[0]), clips[1][0], PROMPT, [1, 2], stop, keep=kept.__setitem__))
    assert list(kept) == [1]


def test_a_stored_clips_latents_are_taken_from_the_catalogue(studio, monkeypatch):
    backbone = studio.backbone
    reference = Reference.read(studio.catalog, "one")
    fresh = studio.adapter(reference)
    latents, _ = backbone.encode_video(reference.frames)
    row = {"clip_id": "one", "encoder_id": backbone.encoder_id, "latents_mean": to_bytes(latents)}
    studio.catalog.upsert("features", [row | {"latents_shape": list(latents.shape), "caption": "any"}])

    def encoded(frames):
        raise AssertionError("encoded again")

    monkeypatch.setattr(backbone, "encode_video", encoded)
    stored = studio.adapter(reference)
    assert torch.allclose(stored.condition, fresh.condition, atol=0.05)
    with pytest.raises(AssertionError, match="encoded again"):
        studio.adapter(Reference("a file", reference.frames))
    assert studio.catalog.get("adapters", ["one"], ["model_id"]).to_pylist() == [
        {"model_id": studio.release.model_id}
    ]


def test_references_of_every_kind_are_read_upright_and_in_colour(studio, tmp_path):
    quadrants = np.zeros((24, 64, 96, 3), np.uint8)
    quadrants[:, :32, :48], quadrants[:, 32:, 48:] = (220, 30, 30), (30, 30, 220)
    quadrants[:, 20:44, 30:60] = np.linspace(0, 255, 24).astype(np.uint8)[:, None, None, None]
    upright = quadrants[:, 4, 4], quadrants[:, -4, -4]
    plain = write(tmp_path / "plain.mp4", quadrants)
    sideways = write(tmp_path / "sideways.mp4", np.rot90(quadrants, 1, (1, 2)).copy())
    turned = tmp_path / "turned.mp4"
    turn = [
        FFMPEG,
        "-v",
        "error",
        "-y",
        "-display_rotation",
        "-90",
        "-i",
        str(sideways),
        "-c",
        "copy",
        str(turned),
    ]
    subprocess.run(turn, check=True)
    pictures = [Image.fromarray(frame) for frame in quadrants]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=80)
    pictures[0].save(tmp_path / "still.png")
    pictures[0].convert("P").save(tmp_path / "still.gif")
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[0].transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    for path in (
        plain,
        turned,
        *(tmp_path / n for n in ("moving.gif", "still.png", "still.gif", "photo.jpg")),
    ):
        reference = Reference.read(studio.catalog, str(path))
        assert reference.frames.shape == (SPEC.num_frames, 64, 96, 3), path.name
        for (y, x), colour in zip(((4, 4), (-4, -4)), upright, strict=True):
            assert apart(reference.frames[0, y, x], colour[0]) < 40, path.name
        still = path.name.startswith(("still", "photo"))
        assert bool(reference.notes()) == still, path.name
    assert psnr(Reference.read(studio.catalog, str(turned)).frames[0], quadrants[0]) > 20


def test_a_reference_that_is_neither_video_nor_picture_is_refused(studio, tmp_path):
    (tmp_path / "notes.txt").write_text("no effect")
    for name, says in ((str(tmp_path / "notes.txt"), "cannot be used"), ("nothing", "neither a video file")):
        with pytest.raises(BadSource, match=says):
            studio.make(name, np.zeros((64, 96, 3), np.uint8), PROMPT)


def test_an_adapter_goes_out_as_a_file_and_comes_back(studio, clips, plain, tmp_path):
    made = studio.make(Reference("a.mp4", clips[0]), clips[1][0], PROMPT)
    size = save_adapter(tmp_path / "a.safetensors", studio.adapter(Reference("a.mp4", clips[0])))
    values = made.adapter.condition.numel()
    assert 2 * values < size < 2 * values + 1_000
    _, lora = made.save(tmp_path / "clip.mp4")
    for path in (lora, tmp_path / "a.safetensors"):
        again = studio.make(studio.load(path), clips[1][0], PROMPT)
        assert apart(again.frames, plain) < 0.5, path
        assert again.reference is None and again.adapter.facts["model_id"] == studio.release.model_id
    with pytest.raises(BadSource, match="none is named"):
        studio.adapter(studio.load(lora), polish=1)


def test_an_adapter_of_another_model_or_transformer_is_refused(studio, clips, tmp_path):
    adapter = studio.adapter(Reference("a.mp4", clips[0]))
    path = tmp_path / "a.safetensors"
    for facts, says in (
        ({"model_id": "other"}, "adapter of model 'other'"),
        ({"transformer": "x"}, "another transformer"),
    ):
        save_adapter(path, adapter.told(**facts))
        with pytest.raises(BadAdapter, match=says):
            studio.load(path)
    save_adapter(path, Adapter(adapter.condition[:, :-1], None, adapter.facts))
    with pytest.raises(TrainingError, match="does not fit"):
        studio.load(path)
    save_adapter(path, Adapter(adapter.condition, None, {"reference": "a file"}))
    with pytest.raises(BadAdapter, match="does not say which model"):
        load_adapter(path, studio.backbone, studio.method, studio.release)


def test_weights_that_are_no_numbers_make_no_clip_and_no_row(studio, clips):
    first = studio.method.trainable_parameters()[0]
    before = first.detach().clone()
    with torch.no_grad():
        first.fill_(torch.nan)
    try:
        with pytest.raises(TrainingError, match="no finite numbers"):
            studio.make(Reference("two", clips[0], stored=True), clips[1][0], PROMPT)
    finally:
        with torch.no_grad():
            first.copy_(before)
    assert studio.catalog.get("adapters", ["two"]).num_rows == 0
    odd = studio.adapter(Reference("a", clips[0]))
    with pytest.raises(TrainingError, match="no finite numbers"):
        studio.make(replace(odd, condition=odd.condition * torch.inf), clips[1][0], PROMPT)


def test_the_lines_of_the_readme_run(clips, tmp_path, monkeypatch):
    folder = tmp_path / "demo" / "videos" / "melt"
    folder.mkdir(parents=True)
    (folder / "melt_000_1.mp4").write_bytes(encode_video(clips[0], 8))
    (tmp_path / "demo" / "report_files").mkdir()
    Image.fromarray(clips[1][0]).save(tmp_path / "demo" / "report_files" / "first-frame-0.jpg")
    catalog = Catalog.create(tmp_path / "demo" / "catalog", SPEC)
    release = shipped_model()
    path = Path("..") / ".." / release.path
    catalog.upsert("models", [{"model_id": release.model_id, "path": str(path), "champion": True}])
    monkeypatch.chdir(tmp_path)
    text = README.read_text("utf-8").split("### From Python")[1]
    lines = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.setattr("pipeline.studio.GenerateSettings.model_validate", lambda values: QUICK)
    lines = lines.replace("polish=40", "polish=1")
    made: dict = {}
    exec(compile(lines, "README.md", "exec"), made)
    assert made["clip"].frames.shape == (49, 64, 96, 3)
    again = Path("demo/again.mp4")
    assert again.stat().st_size > 1_000 and again.with_suffix(".lora.safetensors").exists()
    assert json.dumps(made["clip"].adapter.facts)
