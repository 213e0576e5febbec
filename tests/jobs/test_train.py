"""`video2lora train` on stored features: what it refuses before workers start, what it leaves behind."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from catalog.store import Catalog
from jobs.profile import load_profile
from jobs.train import run_settings, train_job
from jobs.workspace import Workspace
from pipeline.encode import EMPTY_CAPTION
from pipeline.features.tensors import to_bytes
from pipeline.pairing.plan import NoPairs
from pipeline.pairing.stream import NothingEncoded
from pipeline.pocket.families import POCKET_SIZES
from pipeline.prepare import prepare_run
from pipeline.video.transcode import read_clip
from tests.jobs.test_cli import video2lora
from tests.training.run.test_checkpoint import forge
from training.backbones.registry import load_backbone, locate_backbone
from training.errors import TooLittleMemory, WeightsUnreachable
from training.release import TENSORS, ReleaseError, load_release, read_release
from training.run.checkpoint import CheckpointError, newest_checkpoint, read_state
from training.run.trackers import PACKAGES, TrackerMissing
from training.run.watch import read_rows

TINY = load_profile("tiny").backbone
LATENTS = locate_backbone(TINY).latent_shape
FIRST, TEXT = (2, *LATENTS[1:]), (TINY.max_text_tokens, POCKET_SIZES.text_width)
CLIPS = {
    f"{category}-{i}": (category, "ood" if category == "unseen" else "val" if i == 0 else "train")
    for category in ("melt", "pan", "unseen")
    for i in range(3)
}


def workspace(folder: Path, *overrides: str) -> Workspace:
    return Workspace(folder, "tiny", list(overrides))


def fill(folder: Path, clips: dict[str, tuple[str, str]], encoder_id: str) -> None:
    """A catalogue of accepted clips with random features of the tiny backbone's shapes."""
    catalog = Catalog.create(str(folder / "catalog"), workspace(folder).profile.clip)
    catalog.upsert(
        "clips",
        [
            {"clip_id": clip, "status": "accepted", "category_id": category, "split": split}
            for clip, (category, split) in clips.items()
        ],
    )
    add_features(catalog, clips, encoder_id)


def add_features(
    catalog: Catalog,
    clips: Iterable[str],
    encoder_id: str,
    latents: tuple[int, ...] = LATENTS,
    first: tuple[int, ...] = FIRST,
) -> None:
    """Random features for these clips, of the tiny backbone's shapes unless others are named, and the empty
    caption's."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> bytes:
        return to_bytes(torch.randn(shape, generator=generator))

    text = {
        "text_embedding": draw(*TEXT),
        "text_shape": list(TEXT),
        "encoder_id": encoder_id,
        "caption": "",
    }
    features = [
        text
        | {
            "clip_id": clip,
            "latents_mean": draw(*latents),
            "latents_std": to_bytes(torch.full(latents, 0.1)),
            "latents_shape": list(latents),
            "first_frame_latents": draw(*first),
            "first_frame_shape": list(first),
        }
        for clip in clips
    ]
    catalog.upsert("features", [*features, text | {"clip_id": EMPTY_CAPTION}])


@pytest.fixture(scope="module")
def encoder_id() -> str:
    return locate_backbone(TINY).encoder_id


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, encoder_id) -> Path:
    folder = tmp_path_factory.mktemp("workdir")
    fill(folder, CLIPS, encoder_id)
    return folder


def refused(kind: type[Exception], says: str, work: Workspace) -> None:
    """One sentence or two of that kind, before a worker was asked for."""
    with pytest.raises(kind, match=says) as caught:
        train_job(work, None)
    assert "\n" not in str(caught.value)
    assert not list(work.root.glob("runs/*/ray"))


def test_a_category_of_one_clip_makes_no_pair(ray_cluster, tmp_path, encoder_id):
    fill(tmp_path, {"melt-0": ("melt", "train")}, encoder_id)
    refused(NoPairs, "lonely: 1.*two usable clips", workspace(tmp_path))


def test_clips_without_a_category_make_no_pair(ray_cluster, tmp_path, encoder_id):
    fill(tmp_path, {"a": ("", "train"), "b": ("", "train")}, encoder_id)
    refused(NoPairs, "uncategorised: 2.*video2lora cluster", workspace(tmp_path))


def test_latents_of_another_encoder_are_not_trained_on(ray_cluster, tmp_path):
    fill(tmp_path, CLIPS, "another encoder")
    refused(NothingEncoded, "stored are of another enco.*video2lora encode", workspace(tmp_path))


def test_too_little_memory_is_told_with_what_it_would_take(ray_cluster, workdir):
    refused(
        TooLittleMemory,
        "needs at least .* a device has 0.001 GB",
        workspace(workdir, "train.memory_gb=0.001"),
    )


def test_torn_weights_are_told_with_their_file(ray_cluster, workdir, tmp_path):
    source = locate_backbone(TINY).folder
    shutil.copytree(source, tmp_path / "torn")
    weights = next((tmp_path / "torn" / "transformer").glob("*.safetensors"))
    with weights.open("r+b") as file:
        file.truncate(5000)
    work = workspace(workdir, f"backbone.model={tmp_path / 'torn'}")
    refused(WeightsUnreachable, weights.name, work)


def test_a_model_that_a_run_cannot_begin_with_is_told_before_workers_start(ray_cluster, workdir):
    says = r"method.refinements=4.*start_from=null"
    refused(ReleaseError, says, workspace(workdir, "method.refinements=2"))


def test_a_tracker_that_is_not_installed_is_told_with_the_command(ray_cluster, workdir, monkeypatch):
    work = workspace(workdir, 'train.trackers=["wandb"]')
    monkeypatch.setitem(PACKAGES, "wandb", "wandb_of_another_name")
    refused(TrackerMissing, "pip install wandb_of_another_name", work)


def test_min_snr_weighting_is_warned_of_where_it_hides_the_effect(workdir, tmp_path):
    def said(*overrides: str) -> str:
        settings = run_settings(workspace(workdir, *overrides).profile)
        return "\n".join(prepare_run(Catalog.open(str(workdir / "catalog")), tmp_path, settings).sentences())

    assert "warning: method.min_snr_gamma=5 leaves 0.03 % of the loss's weight" in said(
        "method.min_snr_gamma=5.0"
    )
    assert "warning" not in said()


def test_plan_prints_what_a_worker_would_need_and_stops(tmp_path):
    done = video2lora("train", "--plan", "-w", "work", "--set", "train.zero_stage=auto", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ZeRO-3" in done.stdout and "full" in done.stdout and " * " in done.stdout
    assert not (tmp_path / "work" / "runs").exists()
    done = video2lora("train", "--plan", "-w", "work", "--set", "train.memory_gb=0.001", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs at least" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained(ray_cluster, workdir) -> Path:
    """The run's folder after two steps of two workers, looked at once."""
    train_job(workspace(workdir, *RUN), None)
    return next((workdir / "runs").iterdir())


RUN = (
    "train.steps=2",
    "train.batch_size=2",
    "train.workers=2",
    "train.evaluate_every=2",
    "train.samples=2",
    "method.min_snr_gamma=5.0",
    "train.zero_stage=auto",
    "train.activation_checkpointing=auto",
    "generate.steps=2",
)


@pytest.mark.slow
def test_the_gap_of_seen_and_unseen_categories_is_logged_with_its_interval(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    row = read_rows(trained / "metrics.jsonl")[-1]
    board = EventAccumulator(str(trained / "tensorboard"))
    board.Reload()
    for group, pairs in (("seen", 2), ("unseen", 3)):
        assert row[f"eval/gap_{group}_low"] <= row[f"eval/gap_{group}"] <= row[f"eval/gap_{group}_high"]
        assert row[f"eval/pairs_{group}"] == pairs
        assert board.Scalars(f"eval/gap_{group}")[-1].value == pytest.approx(
            row[f"eval/gap_{group}"], abs=1e-6
        )


@pytest.mark.slow
def test_sample_videos_of_held_out_clips_play(trained):
    videos = sorted((trained / "samples" / "step-00000002").glob("*.mp4"))
    assert [video.name.split("-")[0] for video in videos] == ["seen", "unseen"]
    assert {read_clip(video.read_bytes()).shape for video in videos} == {(49, 64, 96, 3)}


@pytest.mark.slow
def test_the_whole_resolved_configuration_is_with_the_checkpoint_and_the_model(trained, workdir):
    stored = read_state(newest_checkpoint(trained / "checkpoints"))["settings"]
    profile = workspace(workdir, *RUN).profile
    assert stored.keys() == profile.model_dump().keys()
    assert stored["method"]["min_snr_gamma"] == 5.0
    assert stored["train"]["zero_stage"] == 1 and stored["train"]["activation_checkpointing"] == "none"
    row = Catalog.open(str(workdir / "catalog")).scan("models", ["config"]).to_pylist()[0]
    assert json.loads(row["config"]) == stored


@pytest.mark.slow
def test_min_snr_weighs_the_loss_that_is_trained(trained):
    row = read_rows(trained / "metrics.jsonl")[0]
    assert row["loss"] != pytest.approx(row["unweighted_loss"], rel=1e-6)


@pytest.mark.slow
def test_a_run_goes_on_when_only_its_memory_or_its_trackers_are_changed(trained, workdir):
    attempts = set((trained / "ray").iterdir())
    changed = ("train.zero_stage=0", "train.memory_gb=50.0", "train.trackers=[]")
    train_job(workspace(workdir, *RUN, *changed), None)
    assert list((workdir / "runs").iterdir()) == [trained]
    assert set((trained / "ray").iterdir()) == attempts  # finished before: no worker was asked for


@pytest.mark.slow
def test_a_changed_rate_goes_on_from_the_newest_run_when_that_is_asked_for(
    trained, workdir, tmp_path, capsys
):
    moved = shutil.copytree(workdir, tmp_path / "work")
    changed = workspace(moved, *RUN, "train.steps=3", "train.lr=5e-5", "train.evaluate_every=9")
    train_job(changed, None, go_on=True)
    said = capsys.readouterr().out
    assert (
        f"goes on from step 2 of {trained.name}, which differs in train.steps (2, now 3), train.lr (" in said
    )
    (further,) = [run for run in (moved / "runs").iterdir() if run.name != trained.name]
    assert [row["step"] for row in read_rows(further / "metrics.jsonl")] == [1, 2, 3]
    rows = {row["run_id"]: row for row in Catalog.open(str(moved / "catalog")).scan("models").to_pylist()}
    facts = read_release(moved / "models" / rows[further.name]["model_id"]).facts
    assert facts["continues"] == {"run_id": trained.name, "step": 2}


@pytest.mark.slow
def test_a_finished_run_writes_its_damaged_model_again(trained, workdir, tmp_path):
    moved = shutil.copytree(workdir, tmp_path / "work")
    (model,) = (moved / "models").iterdir()
    (model / TENSORS).write_bytes((model / TENSORS).read_bytes()[:-1] + b"?")
    train_job(workspace(moved, *RUN), None)
    load_release(read_release(model), load_backbone(TINY))


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_refused_before_workers_start(trained, workdir):
    newest = newest_checkpoint(trained / "checkpoints")
    before = (newest / "state.json").read_text()
    attempts = set((trained / "ray").iterdir())
    forge(newest, identity=read_state(newest)["identity"] | {"transformer": "another"})
    with pytest.raises(CheckpointError, match="belongs to another model: transformer was 'another'"):
        train_job(workspace(workdir, *RUN), None)
    assert set((trained / "ray").iterdir()) == attempts
    (newest / "state.json").write_text(before)
