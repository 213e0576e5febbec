"""Polish at work, on the pocket backbone and the model that comes with it."""

import json

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.cli import app
from pipeline.adapters import Reference
from pipeline.errors import BadSource
from pipeline.polish import changed, own_clips
from pipeline.samples.draw import draw_clip
from pipeline.studio import Studio
from pipeline.video.transcode import encode_video
from training.release import shipped_model
from training.settings import GenerateSettings, PolishSettings

FEW = PolishSettings(steps=2, batch_size=1, augment=1)
PLAIN = GenerateSettings(steps=2, guidance=1.0)
POLISHED = PLAIN.model_copy(update={"polish": FEW})


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return draw_clip(7, 49, 64, 96)[0]


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    catalog = Catalog.create(str(folder / "catalog"), ClipSpec(num_frames=49, fps=8, height=64, width=96))
    return Studio(catalog, shipped_model(), settings=PLAIN)


def test_a_clip_says_how_its_adapter_was_polished_in_its_own_metadata(studio, frames, tmp_path):
    reference = Reference("stranger.mp4", frames)
    studio.settings = PLAIN
    plain = studio.adapter(reference)
    studio.settings = POLISHED
    told = []
    made = studio.make(reference, frames[0], "a ball", lambda *row: told.append(row[:2]))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not torch.equal(made.adapter.condition, plain.condition)
    assert made.adapter.lora.keys() == plain.lora.keys()
    video, lora = made.save(tmp_path / "clip.mp4")
    with av.open(str(video)) as container:
        lineage = json.loads(container.metadata["comment"])
        assert sum(1 for _ in container.decode(video=0)) == 49
    with safe_open(lora, "pt") as file:
        assert json.loads(file.metadata()["video2lora"]) == lineage
    assert lineage["model_id"] == studio.release.model_id and lineage["reference"] == "a file"
    assert lineage["polish"]["steps"] == lineage["polish"]["taken_after"] == 2
    assert lineage["polish"]["loss_before"] > 0
    assert "polish" not in plain.facts
    assert torch.equal(studio.adapter(reference, polish=0).condition, plain.condition)


def test_several_references_are_polished_on_together_from_one_adapter_of_a_predictions_size(studio, frames):
    references = [Reference("one.mp4", frames), Reference("two.mp4", frames[::-1])]
    studio.settings = PLAIN
    one, both = studio.adapter(references[0]), studio.adapter(references)
    assert both.condition.numel() == 2 * one.condition.numel()
    with pytest.raises(BadSource, match="No reference is named"):
        studio.adapter([])
    few = FEW.model_copy(update={"steps": 0})
    studio.settings = PLAIN.model_copy(update={"polish": few})
    polished = studio.adapter(references, polish=1)
    assert polished.facts["polish"]["references"] == ["a file", "a file"]
    assert polished.condition.shape == one.condition.shape


def test_a_reference_that_is_short_is_polished_on_what_it_has(studio, frames):
    clips = own_clips(studio.backbone, [Reference("short.mp4", frames[:9])])
    assert clips.mask[0, :3].all() and not clips.mask[0, 3:].any()
    assert clips.first_frames.shape == (1, *studio.backbone.latent_shape[1:])


def test_a_changed_copy_moves_as_the_clip_does(frames):
    copy = changed(frames, 1)
    assert copy.shape == frames.shape and copy.dtype == np.uint8
    assert np.array_equal(copy, changed(frames, 1)) and not np.array_equal(copy, changed(frames, 2))
    still = changed(np.repeat(frames[:1], 3, axis=0), 1)
    assert (still == still[:1]).all(), "all frames are changed alike"


def test_an_adapter_is_written_as_safetensors_with_its_facts_and_never_as_a_pickle(frames, tmp_path):
    clip = tmp_path / "melt.mp4"
    clip.write_bytes(encode_video(frames, 8))
    asked = ["adapter", "predict", str(clip), "--model", "pocket", "-w", str(tmp_path / "work")]
    made = tmp_path / "melt.safetensors"
    few = ["--polish", "1", "--set", "generate.polish.batch_size=1"]
    done = CliRunner().invoke(app, [*asked, *few, "-o", str(made)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with safe_open(made, "pt") as file:
        facts = json.loads(file.metadata()["video2lora"])
        assert file.get_tensor("adapter").dtype == torch.bfloat16
    assert facts["polish"]["steps"] == 1
    assert (tmp_path / "melt.lora.safetensors").exists()
    for output, says in ((made, "--force"), (tmp_path / "melt.pt", "does not end in .safetensors")):
        with pytest.raises(Exception, match=says):
            CliRunner().invoke(app, [*asked, "-o", str(output)], catch_exceptions=False)
