"""`video2lora train`: pairs of the catalogue in, a published model out."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import pyarrow as pa
import torch

from catalog.snapshot import Snapshot
from catalog.store import Catalog
from jobs.job import Job, say
from jobs.profile import Profile
from jobs.workspace import Workspace, code_revision, write_json
from pipeline.pairs import PairPlan
from pipeline.stream import PairStream, trainable_clips
from training.backbone import PARTS, Backbone
from training.loop import TrainJob, TrainResult, train
from training.release import BuildVideo2LoRA, Release, publish
from training.watch import read_rows


def train_step(job: Job) -> Release:
    """Train on what the catalogue holds now, publish the model and record its lineage.

    The run's folder is named by what decides the result: data, backbone, method and settings. The same
    request again goes on with that run, or finds it finished.
    """
    workspace, profile = job.workspace, job.workspace.profile
    with job.step("prepare training"):
        backbone = Backbone.locate(profile.backbone, PARTS)
        clips = trainable_clips(job.catalog, backbone.encoder_id)
        plan = PairPlan.build(clips, profile.pairs)
        run = _open_run(workspace, profile, job.catalog, clips, backbone)
    say(
        f"  {plan.counts['targets']} clips of {plan.counts['categories']} categories can be paired; "
        f"run {run.run_id}, {profile.train.steps} steps"
    )
    for category in plan.lonely_categories:
        say(f"    left out: {category} has one usable clip, and a pair needs two")
    stream = PairStream.open(job.catalog.at(run.snapshot), backbone.encoder_id, profile.pairs)
    task = TrainJob(
        settings=profile.train,
        module=BuildVideo2LoRA(profile.backbone, profile.method, seed=profile.train.seed),
        run_dir=run.path,
        run_id=run.run_id,
        identity=run.identity,
    )
    with job.step("train") as progress:
        result = train(task, stream, lambda done, total, row: progress(done, total, _brief(row)))
    release = publish(
        result.checkpoint,
        workspace.folder("models"),
        torch.bfloat16,
        {
            "method": profile.method.model_dump(mode="json"),
            "backbone": profile.backbone.model_dump(mode="json"),
            "transformer": backbone.transformer_id,
            "encoder_id": backbone.encoder_id,
            "run_id": run.run_id,
            "steps": result.step,
        },
    )
    job.report["training"] = _summary(result, release, profile)
    _record(job, run, release)
    _say_result(job.report["training"], result)
    return release


def train_job(workspace: Workspace, address: str | None) -> None:
    """`video2lora train`."""
    workspace.existing_catalog()
    with Job("train", workspace, address) as job:
        release = train_step(job)
        say(f"Model {release.model_id} in {release.path}")
        say(f"Watch it: tensorboard --logdir {workspace.root / 'runs'}")


@dataclass(frozen=True)
class Run:
    """A training run's folder, its frozen data, and what its tensors belong to."""

    run_id: str
    path: Path
    snapshot: Snapshot
    identity: dict


def _open_run(
    workspace: Workspace, profile: Profile, catalog: Catalog, clips: pa.Table, backbone: Backbone
) -> Run:
    identity = {
        "method": profile.method.model_dump(mode="json"),
        "transformer": backbone.transformer_id,
        "encoder": backbone.encoder_id,
        "data": _digest(sorted(tuple(row.values()) for row in clips.to_pylist())),
        "pairs": profile.pairs.model_dump(mode="json"),
    }
    run_id = f"train-{_digest([identity, profile.train.model_dump(mode='json')])[:10]}"
    path = workspace.folder("runs") / run_id
    stored = path / "snapshot.json"
    if not stored.exists():
        # Written before the first step: a run that goes on reads the rows it began with.
        write_json(stored, json.loads(catalog.snapshot().to_json()))
    return Run(run_id, path, Snapshot.from_json(stored.read_text("utf-8")), identity)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _summary(result: TrainResult, release: Release, profile: Profile) -> dict:
    rows = read_rows(result.metrics_path)
    tenth = max(1, len(rows) // 10)
    later = rows[min(2, len(rows) - 1) :]  # the first steps pay for compiling and for filling the stream
    return {
        "model_id": release.model_id,
        "model_path": str(release.path),
        "bytes": release.bytes,
        "steps": result.step,
        "resumed_from": result.resumed_from,
        "workers": profile.train.max_workers,
        "seconds": round(result.seconds, 1),
        "step_seconds": fmean(row["step_seconds"] for row in later),
        "data_wait": fmean(row["data_wait"] for row in later),
        "loss_begin": fmean(row["loss"] for row in rows[:tenth]),
        "loss_end": fmean(row["loss"] for row in rows[-tenth:]),
        "checkpoint": str(result.checkpoint),
        "metrics_path": str(result.metrics_path),
    }


def _record(job: Job, run: Run, release: Release) -> None:
    """The model's row: lineage first, so that a model is never without it."""
    profile = job.workspace.profile
    job.catalog.upsert(
        "models",
        [
            {
                "model_id": release.model_id,
                "run_id": run.run_id,
                "method": "video2lora",
                "path": str(release.path.resolve()),
                "snapshot": run.snapshot.to_json(),
                "config": profile.model_dump_json(),
                "code_revision": code_revision(),
                "metrics": json.dumps(job.report["training"]),
                "bytes": release.bytes,
                "created_at": datetime.now(UTC),
            }
        ],
    )


def _brief(row: dict) -> dict:
    return {name: row[name] for name in ("loss", "grad_norm", "step_seconds") if name in row}


def _say_result(training: dict, result: TrainResult) -> None:
    if result.resumed_from >= result.step:
        say("  this run was finished before; nothing was trained again")
    elif result.resumed_from:
        say(f"  went on from step {result.resumed_from}")
    say(
        f"  loss {training['loss_begin']:.4f} → {training['loss_end']:.4f} in {training['steps']} steps, "
        f"{training['step_seconds']:.2f} s a step, {100 * training['data_wait']:.1f} % of it waiting for data"
    )
