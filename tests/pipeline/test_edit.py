"""An edit from its files to its video, on a small Wan with random weights: what is fitted and kept."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from jobs.cli import main
from pipeline.edit import Editor, plan_edit
from pipeline.editing.ask import EditRequest, read_edit
from pipeline.editing.samples import Samples, fit_steps
from pipeline.editing.stopping import EditStopped, stop_edit, stoppable
from pipeline.models import NoModel, find_model
from pipeline.trace import trace
from tests.pipeline.editing.small import BOX, new_catalog, settings_of, words_of
from training.backbones.wan.dit import WanDiT
from training.backbones.wan.published import SCHEDULER_14B_I2V, meta_transformer
from training.errors import StateMismatch
from training.methods.registry import build_method, parse_settings
from training.planning.edit import fit_table, plan_fit
from training.settings import EditSettings


@pytest.fixture
def asked(files) -> EditRequest:
    return EditRequest(files["v.mp4"], "a blue square", files["edited.png"], BOX, caption="a red square")


def test_an_edit_is_a_video_two_files_and_a_row_with_its_lineage_and_is_not_fitted_twice(
    wan,
    asked,
    files,
    tmp_path,
):
    catalog = new_catalog(tmp_path)
    editor = Editor(catalog, tmp_path, settings_of(wan))
    told = []
    made = editor.make(read_edit(catalog, asked), lambda *row: told.append(row[:2]))
    assert told == [(step, 6) for step in range(1, 7)]
    paths = made.save(tmp_path / "out.mp4")
    with av.open(str(paths["video"])) as container:
        lineage = json.loads(container.metadata["comment"])
        assert sum(1 for _ in container.decode(video=0)) == 9
    for form, prefix in (("diffusers", "transformer."), ("comfyui", "diffusion_model.")):
        with safe_open(paths[form], "pt") as file:
            assert json.loads(file.metadata()["video2lora"]) == lineage
            assert len(file.keys()) == 80 and all(name.startswith(prefix) for name in file.keys())  # noqa: SIM118
    (row,) = catalog.scan("models").to_pylist()
    assert (
        row["model_id"] == lineage["model_id"]
        and row["method"] == "lora_edit"
        and row["code_revision"] == "abc"
    )
    assert json.loads(row["config"])["edited"]["prompt"] == "a blue square"
    assert json.loads(row["metrics"])["steps"] == 4
    assert lineage["reference"] == "a file" and lineage["caption"] == "a red square"
    assert not any((tmp_path / "edits").iterdir())
    origin = trace(catalog, paths["video"])
    assert origin.model.model_id == row["model_id"] and origin.model.fitted_to == () and origin.clips == 0
    # It is no model for other references.
    with pytest.raises(NoModel, match="no trained model yet"):
        find_model(catalog, tmp_path / "models")
    assert find_model(catalog, tmp_path / "models", row["model_id"]).model_id == row["model_id"]
    # The same video under another prompt: the LoRA is there.
    told.clear()
    other = editor.make(
        read_edit(catalog, replace(asked, prompt="a green square")), lambda *r: told.append(r)
    )
    assert [row[0] for row in told] == [5, 6] and other.facts["model_id"] == made.facts["model_id"]
    assert not np.array_equal(other.frames, made.frames)
    # What the mask preserves is the video's own, to the pixel, and how near the model came is told.
    edit = read_edit(catalog, asked)
    edit.frames[0] = edit.edited
    assert np.array_equal(made.frames[edit.kept], edit.frames[edit.kept])
    assert made.facts["put_back"] and 0 < made.facts["preserved_db"] < 40
    plain = Editor(catalog, tmp_path, settings_of(wan, put_back=False)).make(read_edit(catalog, asked))
    assert not np.array_equal(plain.frames[edit.kept], edit.frames[edit.kept])
    assert plain.facts["model_id"] == made.facts["model_id"]
    assert not plain.facts["put_back"] and plain.facts["preserved_db"] == made.facts["preserved_db"]
    # With its file in the place of a fit the video is the same.
    given = replace(asked, lora=str(paths["comfyui"]))
    again = Editor(new_catalog(tmp_path / "elsewhere"), tmp_path / "elsewhere", settings_of(wan))
    assert np.array_equal(again.make(read_edit(catalog, given)).frames, made.frames)
    assert not again.catalog.count("models")
    torch.save({}, tmp_path / "lora.pt")
    with pytest.raises(StateMismatch, match="never from a pickle"):
        again.make(read_edit(catalog, replace(asked, lora=str(tmp_path / "lora.pt"))))


def test_an_edit_that_was_interrupted_goes_on_to_the_very_same_lora(wan, asked, files, tmp_path):
    also = replace(asked, also={4: files["frame4.png"]})
    whole = Editor(new_catalog(tmp_path / "whole"), tmp_path / "whole", settings_of(wan))
    expected = whole.make(read_edit(whole.catalog, also))
    work = tmp_path / "stopped"
    catalog = new_catalog(work)

    def stop(step: int, *_) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Editor(catalog, work, settings_of(wan)).make(read_edit(catalog, also), stop)
    assert len(list((work / "edits").glob("fit-*/state.safetensors"))) == 1
    told = []
    made = Editor(catalog, work, settings_of(wan)).make(
        read_edit(catalog, also), lambda *row: told.append(row[0])
    )
    assert told[0] == 6 and json.loads(catalog.scan("models").to_pylist()[0]["metrics"])["resumed_from"] == 5
    assert made.facts["model_id"] == expected.facts["model_id"]
    assert np.array_equal(made.frames, expected.frames)
    assert made.facts["model_id"] != whole.make(read_edit(catalog, asked)).facts["model_id"]


def test_an_edit_is_stopped_from_elsewhere_after_the_step_that_it_is_at(wan, asked, tmp_path):
    catalog, output = new_catalog(tmp_path), tmp_path / "out.mp4"
    editor, told = Editor(catalog, tmp_path, settings_of(wan)), []

    def tell(step: int, *_) -> None:
        told.append(step)
        if step == 3:
            stop_edit(output)

    with pytest.raises(EditStopped, match="goes on"):
        editor.make(read_edit(catalog, asked), stoppable(tell, output))
    editor.make(read_edit(catalog, asked), stoppable(tell, output))
    assert told == [1, 2, 3, 4, 5, 6]


def test_further_edited_frames_are_samples_of_one_frame_and_a_tenth_of_their_steps_is_the_video(
    wan,
    asked,
    files,
    tmp_path,
):
    catalog = new_catalog(tmp_path)
    settings = settings_of(wan, steps=100, also_steps=90, window=5)
    assert fit_steps(settings.edit, 0) == 100 and fit_steps(settings.edit, 2) == 200
    editor = Editor(catalog, tmp_path, settings)
    edit = read_edit(catalog, replace(asked, also={4: files["frame4.png"], 7: files["frame4.png"]}))
    samples = Samples(editor.backbone, edit, settings.edit)
    lengths = [samples.of(step).target_latents.shape[1] for step in range(200)]
    assert lengths[:100] == [2] * 100  # windows of five frames are two latent ones
    assert lengths[100:].count(2) == 10 and lengths[100:].count(1) == 90
    assert samples.of(101) is not samples.of(102)
    assert not torch.equal(samples.of(101).target_latents, samples.of(1).target_latents[:, :1])
    assert samples.of(3).sample_seeds != samples.of(5).sample_seeds
    # What is shown of an edited frame is the original with grey, not all of it preserved.
    assert 0 < samples.of(101).kept.mean() < 1 and samples.of(0).kept[:, 0].all()


def test_what_is_shown_at_the_end_begins_with_the_edited_frame(wan, asked, tmp_path):
    catalog = new_catalog(tmp_path)
    editor = Editor(catalog, tmp_path, settings_of(wan, steps=0))
    seen = []
    encode = editor.backbone.encode_shown
    editor.backbone.encode_shown = lambda pixels, pictured: seen.append(pixels) or encode(pixels, pictured)
    edit = read_edit(catalog, asked)
    editor.make(edit)
    shown = seen[-1]
    assert np.array_equal(shown[0], edit.edited)
    assert (shown[1:][~edit.kept[1:]] == 128).all()
    assert np.array_equal(shown[1:][edit.kept[1:]], edit.frames[1:][edit.kept[1:]])


def test_memory_is_planned_for_a_whole_video_and_for_windows_at_the_published_size(wan):
    with torch.device("meta"):
        method = build_method(
            parse_settings({"kind": "lora_edit"}), WanDiT(meta_transformer(), SCHEDULER_14B_I2V)
        )
    whole, window = (13, 16, 60, 104), (4, 16, 60, 104)
    lines = fit_table(method, {"49 frames at once": whole, "4 windows of 13": window})
    assert "49 frames at once" in lines[0] and "76.7 M values, 153 MB" in lines[-1]
    kept = {shape: plan_fit(method, shape, "full").activations for shape in (whole, window)}
    assert kept[window] < kept[whole] / 3
    assert 32e9 < plan_fit(method, window, "full").weights < 34e9
    assert plan_fit(method, whole, "none").total > plan_fit(method, whole, "full").total
    assert len(plan_edit(settings_of(wan, window=5))) == 6


@pytest.mark.slow
def test_the_command_prepares_a_folder_and_edits_it(wan, files, tmp_path, capsys):
    work = words_of(tmp_path / "work", wan)

    def ended(*words: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(["edit", *work, *words])
        return stopped.value.code

    folder, out = tmp_path / "v", tmp_path / "out.mp4"
    assert ended("--video", files["v.mp4"], "--mask", BOX, "--prepare", str(folder)) == 0
    assert "edited_image.png" in capsys.readouterr().out
    (folder / "edited_image.png").write_bytes(Path(files["edited.png"]).read_bytes())
    words = ("--video", str(folder), "--prompt", "a blue square", "--steps", "2", "-o", str(out))
    assert ended(*words) == 0
    said = capsys.readouterr().out
    assert "its LoRA lora_edit-" in said and "dB of the video; there the video's own pixels stand" in said
    assert len(load_file(out.with_suffix(".lora.safetensors"))) == 80
    report = json.loads((tmp_path / "work" / "reports" / "edit.json").read_text())
    assert report["edited"][0]["prompt"] == "a blue square"
    assert ended(*words) == 2
    assert "is there already" in capsys.readouterr().err
    assert ended("--plan") == 0
    assert "frames at once" in capsys.readouterr().out
    for wrong, says in (
        (["--prompt", "x"], "--video is missing"),
        (["--video", files["v.mp4"]], "--prompt is missing"),
        (["--video", files["v.mp4"], "--prompt", "x", "--also", "4:frame.png"], "NUMBER=PICTURE"),
        (["--video", files["v.mp4"], "--prompt", "x", "--set", "edit.window=6"], "cannot be folded"),
        (["--video", files["v.mp4"], "--prompt", "x", "--set", "backbone.num_frames=5"], "as many"),
    ):
        assert ended(*wrong) == 2
        assert says in capsys.readouterr().err


def test_a_cogvideox_and_a_training_of_pairs_are_refused_before_anything_loads(asked, tmp_path, capsys):
    words = ["--video", asked.video, "--prompt", "x", "--first-frame", asked.first_frame]
    with pytest.raises(SystemExit) as stopped:
        main(["edit", *words, "-w", str(tmp_path / "work")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "lora_edit is made for wan, and this backbone is a cogvideox" in said and "Traceback" not in said
    for command in (["train"], ["run", asked.video]):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "-w", str(tmp_path / "work"), "--set", "method.kind=lora_edit"])
        assert stopped.value.code == 2
        assert "lora_edit is fitted to one video" in capsys.readouterr().err


def test_the_settings_of_a_fit_are_those_of_the_paper():
    paper = EditSettings()
    assert (paper.rank, paper.steps, paper.also_steps, paper.lr) == (16, 100, 90, 1e-4)
    assert (paper.sampling_steps, paper.guidance, paper.shift, paper.token) == (30, 5.0, 5.0, "p3rs0n,")
