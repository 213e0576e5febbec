"""`video2lora train` and `generate` on the pocket Wan: which methods it takes, and which it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.store import Catalog
from jobs.profile import load_profile
from jobs.train import train_job
from jobs.workspace import Workspace
from pipeline.adapters import Reference
from pipeline.samples.draw import draw_clip
from pipeline.studio import Studio
from tests.jobs.test_cli import video2lora
from tests.jobs.test_train import CLIPS, add_features
from training.backbones.registry import locate_backbone

RUN = ("train.steps=2", "train.batch_size=2", "train.evaluate_every=50", "generate.steps=2")


def filled(folder: Path, *overrides: str) -> Workspace:
    """A working directory of that profile, its clips accepted and with random features."""
    work = Workspace(folder, "tiny-wan", [*RUN, *overrides])
    catalog = Catalog.create(str(folder / "catalog"), work.profile.clip)
    catalog.upsert(
        "clips",
        [
            {"clip_id": clip, "status": "accepted", "category_id": category, "split": split}
            for clip, (category, split) in CLIPS.items()
        ],
    )
    backbone = locate_backbone(load_profile("tiny-wan").backbone)
    first = backbone.meta_dit().first_frame_of(torch.zeros(1, *backbone.latent_shape)).shape
    add_features(catalog, CLIPS, backbone.encoder_id, backbone.latent_shape, tuple(first))
    return work


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["video2lora", "category_lora"])
def test_what_trained_on_it_makes_a_video(ray_cluster, tmp_path, kind):
    train_job(filled(tmp_path, *(() if kind == "video2lora" else (f"method.kind={kind}",))), None)
    studio = Studio.open(tmp_path)
    assert studio.backbone.settings.family == "wan" and studio.method.settings.kind == kind
    frames = draw_clip(3, 49, 64, 96)[0]
    made = studio.make(Reference("a.mp4", frames, category="melt"), frames[0], "a red ball")
    assert made.frames.shape == frames.shape and np.ptp(made.frames) > 20


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("video_as_prompt", "is made for cogvideox, and this backbone is a wan: set backbone.model"),
        ("lora_edit", "is fitted to one video, not trained on pairs"),
    ],
)
def test_a_method_that_does_not_train_on_it_is_refused_in_a_sentence(tmp_path, kind, says):
    filled(tmp_path)
    done = video2lora(
        "train", "-p", "tiny-wan", "-w", str(tmp_path), "--set", f"method.kind={kind}", cwd=tmp_path
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert says in " ".join(done.stderr.split()), done.stderr
    assert not list(tmp_path.glob("runs/*/ray"))
