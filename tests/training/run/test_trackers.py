"""Weights & Biases and MLflow for real, without a network; TensorBoard is in test_watch.py."""

import json
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wandb

from pipeline.video.transcode import write_video
from training.run.folder import RunFolder
from training.run.settings import TrainSettings
from training.run.trackers import (
    PACKAGES,
    TRACKERS,
    TrackerMissing,
    TrackerUnreachable,
    open_trackers,
    require_trackers,
)
from training.run.watch import RunLog

CONFIG = {"train": {"lr": 0.125}}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path, attempt="first")


def log_rows(folder: RunFolder, tracker: str, steps: range) -> None:
    """As a run does that goes on from the step before the first of these, with a sample video at each."""
    video = folder.path / "seen-a--b.mp4"
    write_video(np.zeros((5, 32, 48, 3), dtype=np.uint8), 8, video)
    log = RunLog(folder, steps[0] - 1, open_trackers([tracker], folder, "run-7", steps[0] - 1, CONFIG))
    for step in steps:
        log.show([video], step)
        log.write({"step": step, "loss": 1 / step, "eval/gap": 0.25, "time": 1e9})
    log.close()


def test_what_the_default_needs_is_installed_with_the_project():
    assert TrainSettings().trackers == ("tensorboard",)
    require_trackers(TrainSettings().trackers)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_sentence_with_the_command(name, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, PACKAGES[name], raising=False)
    with pytest.raises(TrackerMissing, match=f"pip install {PACKAGES[name]}"):
        require_trackers([name])


def test_every_tracker_that_may_be_set_exists():
    assert TRACKERS.keys() == PACKAGES.keys()
    assert TrainSettings(trackers=tuple(TRACKERS)).trackers == tuple(TRACKERS)


def test_no_tracker_at_all_is_a_setting():
    require_trackers(TrainSettings(trackers=()).trackers)


def test_wandb_holds_the_rows_and_the_configuration_and_goes_on_under_the_runs_own_id(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_rows(folder, "wandb", range(1, 3))
    time.sleep(1.1)  # W&B names a process's file by the second in which it began
    log_rows(folder, "wandb", range(3, 4))
    until = time.monotonic() + 30  # W&B's own process writes, and may still do so when the run has ended
    while len((found := wandb_rows(folder))[0]) < 3 and time.monotonic() < until:
        time.sleep(0.2)
    rows, runs = found
    assert runs == {("run-7", 0.125)}
    assert rows == [{"_step": step, "train/loss": 1 / step, "eval/gap": 0.25} for step in (1, 2, 3)]


def wandb_rows(folder: RunFolder) -> tuple[list[dict], set[tuple[str, float]]]:
    """The rows of all files, in order, and of each run its id and rate."""
    rows, runs = [], set()
    for file in sorted(folder.path.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(file):
            if record.WhichOneof("record_type") == "run":
                config = {update.key: json.loads(update.value_json) for update in record.run.config.update}
                runs.add((record.run.run_id, config["train"]["lr"]))
            if record.WhichOneof("record_type") == "history":
                items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
                rows.append({name: float(items[name]) for name in ("_step", "train/loss", "eval/gap")})
                shown = json.loads(items["samples/seen-a--b/path"])
                assert (file.parent / "files" / shown).is_file()
    return rows, runs


def wandb_records(path: Path) -> Iterator:
    """What W&B wrote for a later upload: a header of 7 bytes, then records in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    at = 7
    while at + 7 <= len(data):
        _, size, kind = struct.unpack_from("<IHB", data, at)
        assert kind == 1, "a record in several parts, which these small runs do not have"
        yield Record.FromString(data[at + 7 : at + 7 + size])
        at += 7 + size


def test_wandb_without_a_login_is_one_sentence_with_the_command(folder, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder.path))
    wandb.teardown()  # it reads the environment once
    with pytest.raises(TrackerUnreachable, match="wandb login") as caught:
        open_trackers(["wandb"], folder, "run-7", 0, {})
    assert "\n" not in str(caught.value)


@pytest.fixture
def store(tmp_path_factory, monkeypatch) -> str:
    """MLflow keeps its runs in files; its small edition knows no other store without a server."""
    place = tmp_path_factory.mktemp("mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return place


def test_mlflow_holds_the_rows_and_the_configuration_and_goes_on_in_the_same_run(folder, store):
    from mlflow.artifacts import load_dict
    from mlflow.tracking import MlflowClient

    log_rows(folder, "mlflow", range(1, 3))
    log_rows(folder, "mlflow", range(3, 4))
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "video2lora"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run-7", "FINISHED")
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert run.data.metrics["eval/gap"] == 0.25
    assert [v.path for v in client.list_artifacts(run.info.run_id, "samples/step-00000003")] == [
        "samples/step-00000003/seen-a--b.mp4"
    ]
    assert load_dict(f"{run.info.artifact_uri}/config.json") == CONFIG


def test_a_store_that_mlflow_cannot_use_is_one_sentence_with_the_variable(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://here")
    with pytest.raises(TrackerUnreachable, match="MLFLOW_TRACKING_URI names the server") as caught:
        open_trackers(["mlflow"], folder, "run-7", 0, {})
    assert "\n" not in str(caught.value)


def test_mlflow_that_fails_in_mid_run_costs_its_rows_and_not_the_run(folder, store, caplog):
    (tracker,) = open_trackers(["mlflow"], folder, "run-7", 0, CONFIG)
    tracker.write({"train/loss": 1.0}, 1)
    for run in Path(store.removeprefix("file://")).glob("*/*/"):
        shutil.rmtree(run)
    tracker.write({"train/loss": 0.5}, 2)
    tracker.write({"train/loss": 0.25}, 3)
    tracker.close()
    assert len([record for record in caplog.records if "MLflow does not take" in record.message]) == 1
