"""Lessons through the product's own commands: adapters polished for single clips teach, then the clips do."""

import json
from pathlib import Path

import pytest
import torch

from catalog.errors import BadFilter
from catalog.store import Catalog
from jobs.train import train_job
from pipeline.adapt import AdaptReport, NoAdapters, adapt
from pipeline.adapters import owner_of
from pipeline.pairing.taught import NothingTaught
from tests.jobs.test_train import CLIPS, TINY, fill, workspace
from training.backbones.registry import locate_backbone
from training.errors import BadMethodSettings
from training.methods.lightlora.layers import auxiliary_of
from training.release import ReleaseError, read_release, shipped_model, verified_tensors
from training.run.watch import read_rows
from training.settings import PolishSettings

FEW = PolishSettings(steps=1, batch_size=1)
# Two of a category that trains, one that is held out, and one of which nobody has said anything.
POLISHED = ("melt-0", "melt-1", "pan-1", "loose")
RUN = ("train.batch_size=2", "train.checkpoint_every=1", "train.samples=0")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    fill(folder, CLIPS | {"loose": (None, None)}, locate_backbone(TINY).encoder_id)
    return folder


@pytest.fixture(scope="module")
def polished(ray_cluster, workdir) -> AdaptReport:
    """Adapters of four clips, the fourth polished by a second call, which meets one that nobody encoded."""
    catalog = Catalog.open(str(workdir / "catalog"))
    catalog.upsert("clips", [{"clip_id": "raw", "status": "accepted", "split": "train"}])
    reports = []
    for names in (POLISHED[:3], (*POLISHED, "raw")):
        reports.append(adapt(catalog, shipped_model(), TINY, where=f"clip_id in {names}", polishing=FEW))
    first, second = reports
    assert first.counts == {"accepted": 3, "present": 0, "predicted": 3, "failed": 0}
    assert second.counts == {"accepted": 5, "present": 3, "predicted": 1, "failed": 1}
    assert "video2lora encode" in second.failures["raw"]
    return second


@pytest.mark.slow
def test_polished_adapters_are_stored_once_for_each_clip_under_their_models_name(workdir, polished):
    rows = Catalog.open(str(workdir / "catalog")).scan("adapters").to_pylist()
    assert {row["clip_id"] for row in rows} == set(POLISHED)
    assert {row["model_id"] for row in rows} == {polished.name}
    assert owner_of(polished.name) == shipped_model().model_id != polished.name
    assert len({tuple(row["vector"]) for row in rows}) == len(POLISHED)


@pytest.mark.slow
def test_adapters_of_single_clips_teach_and_then_the_clips_do(workdir, polished, capsys):
    taught = workspace(
        workdir, *RUN, f"train.teacher={polished.name}", "train.steps=2", "train.evaluate_every=2"
    )
    train_job(taught, None)
    said = capsys.readouterr().out
    assert "3 clips of 2 categories teach" in said and f"the adapters {polished.name}" in said
    (run,) = (workdir / "runs").iterdir()
    last = read_rows(run / "metrics.jsonl")[-1]
    assert {"eval/gap_seen", "adapter_norm", "grad_norm/hypernetwork"} <= last.keys()
    assert "grad_norm/auxiliary" not in last
    (model,) = (workdir / "models").iterdir()
    release, shown = read_release(model), shipped_model()
    assert release.facts["taught_by"] == polished.name and release.categories == ("melt", "pan")
    now, before = verified_tensors(release), verified_tensors(shown)
    assert now.keys() == before.keys()
    same = auxiliary_of(before)
    assert same and all(torch.equal(now[name], value) for name, value in same.items())
    assert any(not torch.equal(now[name], before[name]) for name in before.keys() - same.keys())

    train_job(workspace(workdir, *RUN, f"train.start_from={model}", "train.steps=1"), None)
    rows = Catalog.open(str(workdir / "catalog")).scan("models", ["model_id", "metrics"]).to_pylist()
    (further,) = [json.loads(row["metrics"]) for row in rows if row["model_id"] != model.name]
    assert further["started_from"] == model.name and "taught_by" not in further
    moved = verified_tensors(read_release(Path(further["model_path"])))
    assert any(not torch.equal(moved[name], value) for name, value in same.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "says", "overrides"),
    [
        (NothingTaught, r"No clip has an adapter of 'nobody'.*adapter fill", ["train.teacher=nobody"]),
        (
            BadMethodSettings,
            "category_lora predicts no adapter",
            ["method={kind='category_lora'}", "train.start_from=null"],
        ),
        (ReleaseError, "trained with method.up_size=24", ["method.up_size=12", "train.start_from=null"]),
    ],
    ids=["no adapters", "no such lesson", "other sizes"],
)
def test_what_cannot_be_taught_is_told_before_workers_start(workdir, polished, kind, says, overrides):
    work = workspace(workdir, f"train.teacher={polished.name}", *overrides)
    before = set(workdir.glob("runs/*/ray"))
    with pytest.raises(kind, match=says) as caught:
        train_job(work, None)
    assert "\n" not in str(caught.value) and set(workdir.glob("runs/*/ray")) == before


def test_what_cannot_be_filled_is_told_before_the_model_is_loaded(workdir):
    catalog = Catalog.open(str(workdir / "catalog"))
    with pytest.raises(NoAdapters, match=r"generate.polish.augment asks for changed copies: set it to 0"):
        adapt(catalog, shipped_model(), TINY, polishing=PolishSettings(steps=1, augment=2))
    with pytest.raises(BadFilter, match="no column 'colour'"):
        adapt(catalog, shipped_model(), TINY, where="colour = 'red'")
